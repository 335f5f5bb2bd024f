"""The divergence term lowers the energy divergence."""

from guidegym import Constant, Guidance
from guidegym.guidance import EnergyDivergence
from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import energy
from guidegym.reproduction.lab import Lab

LAMBDA = 0.15
"""The thesis'."""


def _run(lab: Lab) -> Effect:
    weight = lab.best_weight(energy("robust"), name="class energy")
    methods = {
        f"with the term, w={weight:g}": Guidance(EnergyDivergence("robust", weight=LAMBDA), Constant(weight)),
        f"without, w={weight:g}": energy("robust")(weight),
    }
    ours, theirs = lab.measured(methods, ["energy_divergence"]).values()
    return Effect.less(ours["energy_divergence"], theirs["energy_divergence"])


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="divergence_term",
        paper="Wang 2024",
        place="section 4.8",
        says="The divergence term lowers the energy divergence of the samples.",
        effect="energy divergence under class-energy guidance less that with the term, at the weight that is best without it",
        run=_run,
        classifiers=("robust",),
    )
