"""Loading studies by name."""

import inspect

from guidegym.errors import GuideGymError
from guidegym.registry import find
from guidegym.search.study import Study


def load_study(where: str, *, testbed: str | None = None) -> Study:
    """Load a study.

    Args:
        where: A shipped name, a dotted module, or a path to a Python file; each has a function ``study()`` that returns
            a ``Study`` and takes the name of a testbed.
        testbed: The testbed to make it for; None for the study's own.

    Raises:
        GuideGymError: If there is no such study, or its file has no such function. Errors raised inside the study's
            file are not caught.
    """
    make = find("study", where)
    if not callable(make):
        raise GuideGymError(f"`study` of {where} must be a function, got {type(make).__name__}")
    if testbed is not None and not inspect.signature(make).parameters:
        raise GuideGymError(f"`study` of {where} takes no testbed, got {testbed!r}")
    study = make() if testbed is None else make(testbed)
    if not isinstance(study, Study):
        raise GuideGymError(f"`study` of {where} must return a guidegym.search.Study, got {type(study).__name__}")
    return study
