"""Claims on progressive guidance (Dinh et al. 2023)."""

import math

from guidegym.claims.claim import Effect, claimed
from guidegym.claims.families import plain, progressive
from guidegym.claims.lab import Family, Lab

PAPER = "Dinh et al. 2023"


@claimed(
    paper=PAPER,
    place="Table 1",
    effect="Frechet distance of plain guidance less that of progressive guidance, each at its best weight",
)
def prog_frechet(lab: Lab) -> Effect:
    """Progressive guidance lowers the Frechet distance of plain guidance at equal cost."""
    ours, theirs = lab.compare_best(progressive(lab), plain(lab), ("progressive", "plain"), "frechet")
    return Effect.less(ours, theirs)


@claimed(
    paper=PAPER,
    place="Figure 4",
    effect="what plain guidance loses in recall from the second smallest weight to the largest, less what progressive loses",
)
def prog_recall(lab: Lab) -> Effect:
    """Recall falls slower with the weight under progressive guidance."""
    low, high = lab.weights[1], lab.weights[-1]
    methods = {
        f"{name}, w={weight:g}": family(weight)
        for name, family in (("progressive", progressive(lab)), ("plain", plain(lab)))
        for weight in (low, high)
    }
    our_low, our_high, their_low, their_high = (one["recall"] for one in lab.measured(methods, ["recall"]).values())
    theirs, ours = Effect.less(their_high, their_low), Effect.less(our_high, our_low)
    return Effect(theirs.value - ours.value, theirs.draws - ours.draws)


HALVINGS = 4


def _matching(lab: Lab, family: Family, wanted: float) -> float:
    """Return the weight at which a method has the wanted Frechet distance, or comes nearest: from its best weight upwards.

    Below its best weight the same distance is that of samples that were not guided enough.
    """

    def distance(weight: float) -> float:
        return lab.tuning({f"{weight:g}": family(weight)}, "frechet")[f"{weight:g}"]

    low = lab.best_weight(family, metric="frechet", name="plain")
    high = 2 * max(low, lab.weights[-1])
    if distance(low) >= wanted:
        return low
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if distance(middle) < wanted else (low, middle)
    return math.sqrt(low * high)


@claimed(
    paper=PAPER,
    place="Table 2",
    effect="robustness@1 of progressive guidance less that of plain guidance at the weight of the same Frechet distance",
)
def prog_robustness(lab: Lab) -> Effect:
    """At matched Frechet distance, progressive guidance has the higher robustness@1."""
    ours, theirs = progressive(lab), plain(lab)
    # As the paper does: progressive guidance at its best, and plain guidance at the weight of the same distance.
    weight = lab.best_weight(ours, metric="frechet", name="progressive")
    wanted = lab.tuning({"progressive": ours(weight)}, "frechet")["progressive"]
    matched = _matching(lab, theirs, wanted)
    methods = {f"progressive, w={weight:.3g}": ours(weight), f"plain, w={matched:.3g}": theirs(matched)}
    first, second = lab.measured(methods, ["robustness", "frechet"]).values()
    apart = Effect.less(first["frechet"], second["frechet"]).estimate
    lab.notes["match"] = f"plain guidance's Frechet distance is {apart.text()} larger on the rows of the verdict"
    return Effect.more(first["robustness"], second["robustness"])


@claimed(
    paper=PAPER,
    place="Table 5",
    effect="Frechet distance with gamma = 0 less that with the moving degree, each at its best weight",
)
def prog_gamma_zero(lab: Lab) -> Effect:
    """A degree that never moves to the wanted class (gamma = 0) fails."""
    still = progressive(lab, gamma=0.0)
    weight = lab.best_weight(progressive(lab), metric="frechet", name="progressive")
    own = lab.best_weight(still, metric="frechet", name="gamma = 0")
    methods = {
        f"progressive, w={weight:g}": progressive(lab)(weight),
        f"gamma = 0, w={own:g}": still(own),
        # Its best weight may be next to none: at the other's weight it shows where a degree that stays leads to.
        f"gamma = 0 under w={weight:g}": still(weight),
    }
    ours, theirs, _ = lab.measured(methods, ["frechet"]).values()
    return Effect.less(ours["frechet"], theirs["frechet"])


@claimed(
    paper=PAPER,
    place="Table 7",
    effect="1.02 less the ratio of network evaluations, counted; seconds would be the machine's",
)
def prog_cost(lab: Lab) -> Effect:
    """Progressive guidance costs no more than plain guidance."""
    weight = lab.weights[-2]
    lab.measured({"progressive": progressive(lab)(weight), "plain": plain(lab)(weight)}, ["accuracy"])
    ours, theirs = (int(lab.seen[name].evaluations.sum()) for name in ("progressive", "plain"))
    return Effect.known(1.02 - ours / theirs)
