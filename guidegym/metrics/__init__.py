"""Metrics of sample sets and classifiers."""

from guidegym.metrics.frechet import extrapolated_frechet, frechet_distance, moments, resampled_frechet
from guidegym.metrics.kernel import ClassKernels, class_kernels, cubic_kernel, mixture_distance, reference_self_term

__all__ = [
    "ClassKernels",
    "class_kernels",
    "cubic_kernel",
    "extrapolated_frechet",
    "frechet_distance",
    "mixture_distance",
    "moments",
    "reference_self_term",
    "resampled_frechet",
]
