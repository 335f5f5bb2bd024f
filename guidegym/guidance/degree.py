"""The information degree: the target distribution over classes, which progressive guidance moves to the wanted class."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from guidegym.errors import GuideGymError


def initial_degree(
    label: Int[Tensor, " batch"], num_classes: int, *, share: float = 1.0, dtype: torch.dtype = torch.float32
) -> Float[Tensor, " batch classes"]:
    """Return label smoothing: ``share`` for the wanted class, the rest spread evenly over the others.

    Args:
        label: Wanted class of each row.
        num_classes: Number of classes K.
        share: Degree of the wanted class, in [1 / K, 1]; 1 is one-hot (plain guidance), 1 / K uniform.
        dtype: Floating type of the result.

    Raises:
        GuideGymError: If ``share`` is out of range.

    Source:
        Dinh et al. 2023, section 4.2.
    """
    if not 1 / num_classes - 1e-6 <= share <= 1:
        raise GuideGymError(f"`share` must be in [1 / {num_classes}, 1], got {share}")
    hot = functional.one_hot(label, num_classes).to(dtype)
    rest = (1 - share) / max(num_classes - 1, 1)
    return rest + (share - rest) * hot


def step_gamma(rate: Float[Tensor, " batch"], num_steps: int) -> Float[Tensor, " batch"]:
    r"""Return the update of one step, :math:`\gamma = 1 - e^{-r / n}`, for a rate per unit of the chain.

    Over a whole chain the distance to the wanted class shrinks by :math:`e^{-r}`, whatever the number of steps ``n``. The
    source's 0.04 a step at 250 steps is a rate of 10.2.

    Args:
        rate: The rate ``r`` of each row, >= 0; 0 never moves.
        num_steps: Steps of the chain.
    """
    return -torch.expm1(-rate / num_steps)


def advance_degree(
    degree: Float[Tensor, " batch classes"], label: Int[Tensor, " batch"], gamma: Float[Tensor, " batch"]
) -> Float[Tensor, " batch classes"]:
    r"""Move each row's degree towards its wanted class.

    .. math:: s_c \leftarrow s_c + \gamma (1 - s_c), \qquad s_i \leftarrow s_i - \gamma s_i \quad (i \ne c)

    That is eq. 5 with the others' sum written out: they shrink in proportion, and the sum stays 1.

    Args:
        degree: Target distribution of each row, >= 0 with sum 1.
        label: Wanted class ``c`` of each row.
        gamma: Update of the step, in [0, 1]; 1 is plain guidance after one step.

    Source:
        Dinh et al. 2023, eq. 5.
    """
    return torch.lerp(degree, functional.one_hot(label, degree.shape[1]).to(degree), gamma.to(degree)[:, None])
