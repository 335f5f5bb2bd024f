"""What a sample set or a classifier is measured by."""

from guidegym.metrics.frechet import frechet_distance, moments
from guidegym.metrics.kernel import ClassKernels, class_kernels, cubic_kernel, reference_self_term

__all__ = ["ClassKernels", "class_kernels", "cubic_kernel", "frechet_distance", "moments", "reference_self_term"]
