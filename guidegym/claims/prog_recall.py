"""Under progressive guidance recall falls slower with the weight."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain, progressive
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    low, high = lab.weights[1], lab.weights[-1]
    methods = {
        f"{name}, w={weight:g}": family(weight)
        for name, family in (("progressive", progressive(lab)), ("plain", plain(lab)))
        for weight in (low, high)
    }
    our_low, our_high, their_low, their_high = (one["recall"] for one in lab.measured(methods, ["recall"]).values())
    theirs, ours = Effect.less(their_high, their_low), Effect.less(our_high, our_low)
    return Effect(theirs.value - ours.value, theirs.draws - ours.draws)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="prog_recall",
        paper="Dinh et al. 2023",
        place="Figure 4",
        says="Recall falls slower with the weight under progressive guidance.",
        effect="what plain guidance loses in recall from the second smallest weight to the largest, less what progressive loses",
        run=_run,
    )
