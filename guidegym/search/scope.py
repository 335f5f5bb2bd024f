"""Testbed-specific settings of all studies: classifiers, useful weights, and numbers of samples."""

from dataclasses import dataclass, replace

from guidegym.diffusion import DDIM
from guidegym.testbeds.own_images import names_folder

SAMPLER = DDIM(15, eta=1.0)
"""The diffusion sampler of the shipped studies."""


@dataclass(frozen=True)
class Scope:
    """A testbed's settings for studies.

    Args:
        classifier: The classifier that guides best, trained on noisy images.
        off_the_shelf: One that was trained on clean images only; the same if there is none.
        max_scale: Largest weight to try.
        constants: Constant weights of the class energy used as baselines.
        likelihoods: Those of the likelihood, which are larger because its gradient vanishes where the classifier is certain.
        samples_per_class: Samples per class that a trial is scored on.
        confirm_per_class: Fresh samples per class for the confirmation.
        similarity: Name of the similarity matrix; None if there is none.
    """

    classifier: str
    off_the_shelf: str
    max_scale: float
    constants: tuple[float, ...]
    likelihoods: tuple[float, ...]
    samples_per_class: int
    confirm_per_class: int
    similarity: str | None = None


SMALL = (0.25, 0.5, 1.0, 2.0)
FASHION_SCOPE = Scope(
    "time_dependent", "robust", 16.0, (1.0, 2.0, 2.5, 3.0, 4.0), (2.5, 5.0, 9.0, 13.0), 16, 16, "minilm"
)
DIGITS_SCOPE = Scope("time_dependent", "robust", 16.0, (1.0, 2.0, 3.0, 4.0), (2.5, 5.0, 9.0), 16, 16)
SCOPES = {
    "fashion": FASHION_SCOPE,
    "fashion-ve": FASHION_SCOPE,
    "digits": DIGITS_SCOPE,
    "digits-ve": DIGITS_SCOPE,
    "digits-trained-ve": replace(DIGITS_SCOPE, off_the_shelf="time_dependent"),
    "digits-words": DIGITS_SCOPE,
    "gaussians": Scope("exact", "exact", 12.0, SMALL, SMALL, 100, 500),
    "gaussians-ve": Scope("exact", "exact", 12.0, SMALL, SMALL, 100, 500),
    "gaussians-imperfect": Scope("skewed", "skewed", 12.0, SMALL, SMALL, 100, 500),
}


def scope_of(testbed: str) -> Scope:
    """Return the scope of a testbed; a user's testbed is searched like ``fashion`` and must name its classifiers the same way."""
    if testbed not in SCOPES and names_folder(testbed):
        return replace(FASHION_SCOPE, similarity=None)  # nobody has described its classes
    return SCOPES.get(testbed, FASHION_SCOPE)
