"""Checks that sets of features can be compared at all."""

from torch import Tensor

from guidegym.errors import GuideGymError


def check_sets(samples: Tensor, real: Tensor, *, by_class: bool = False) -> None:
    """Check that two sets of features are not empty and lie in one space.

    Args:
        samples: Features, (n, dim), or by class, (classes, n, dim).
        real: The same of other rows.
        by_class: Whether they are by class.

    Raises:
        GuideGymError: If one is empty or of another shape, or they differ in dimensions or classes.
    """
    shape = "(classes, n, dim)" if by_class else "(n, dim)"
    for name, rows in (("samples", samples), ("real", real)):
        if rows.ndim != 2 + by_class or 0 in rows.shape:
            raise GuideGymError(f"`{name}` must have shape {shape} and not be empty, got {tuple(rows.shape)}")
    if samples.shape[-1] != real.shape[-1]:
        raise GuideGymError(
            f"features of {samples.shape[-1]} and of {real.shape[-1]} dimensions are of different spaces and cannot be compared"
        )
    if by_class and len(samples) != len(real):
        raise GuideGymError(f"`samples` have {len(samples)} classes and `real` {len(real)}: one is missing")
