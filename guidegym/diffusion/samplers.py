"""Samplers: the rule of one reverse step, without a network."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion.process import Process, rows_like
from guidegym.errors import GuideGymError


class Reverse(NamedTuple):
    """One reverse step: the next, less noisy rows and the estimate of the clean ones."""

    x_prev: Float[Tensor, " batch *event"]
    x_0: Float[Tensor, " batch *event"]


@runtime_checkable
class Sampler(Protocol):
    """A rule for one reverse step over a sub-sequence of the training timesteps."""

    @property
    def num_steps(self) -> int:
        """Number of reverse steps."""
        ...

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise."""
        ...

    def timesteps(self, process: Process) -> Int[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, closed by -1, the clean end."""
        ...

    def step(
        self,
        x_t: Float[Tensor, " batch *event"],
        eps: Float[Tensor, " batch *event"],
        shift: Float[Tensor, " batch *event"] | None,
        *,
        t: Int[Tensor, " batch"],
        t_prev: Int[Tensor, " batch"],
        process: Process,
        noise: Float[Tensor, " batch *event"] | None,
        clip: float | None,
    ) -> Reverse:
        """Take one reverse step from ``t`` to ``t_prev``; rows may stand at different steps.

        Args:
            x_t: Noisy rows.
            eps: Predicted noise at ``x_t``.
            shift: Weighted gradient of the guide, added to the score; None for no guidance.
            t: Timestep of each row.
            t_prev: Where each row goes, less than ``t``; -1 is the clean end.
            process: The noise process.
            noise: Standard normal noise of each row; None only where ``is_stochastic`` is False.
            clip: Bound on the absolute value of the clean estimate; None leaves it free.
        """
        ...


def guided_noise(
    eps: Float[Tensor, " batch *event"],
    shift: Float[Tensor, " batch *event"],
    *,
    sigma_t: Float[Tensor, " batch"],
) -> Float[Tensor, " batch *event"]:
    r"""Shift the predicted noise along the guide's weighted gradient.

    .. math:: \hat\epsilon = \epsilon_\theta(x_t) - \sqrt{1 - \bar\alpha_t}\; w g

    Args:
        eps: Predicted noise, unit variance at every noise level.
        shift: Weight times gradient, in 1 / (unit of ``x``).
        sigma_t: Standard deviation of the noise, in [0, 1].

    Source:
        Wang 2024, Algorithm 6; Dhariwal and Nichol 2021, Algorithm 2.
    """
    return eps - rows_like(sigma_t, eps) * shift


def _check_num_steps(num_steps: int, spacing: str) -> None:
    if num_steps < 1:
        raise GuideGymError(f"`num_steps` must be >= 1, got {num_steps}")
    if spacing not in ("trailing", "leading"):
        raise GuideGymError(f"`spacing` must be 'trailing' or 'leading', got {spacing!r}")


def _subsequence(num_steps: int, spacing: str, process: Process) -> Int[Tensor, " steps_and_end"]:
    """Return ``num_steps`` descending timesteps and the closing -1.

    ``trailing`` starts at the last training timestep, T - 1, which is pure noise; ``leading`` ends at 0.
    """
    total = process.num_timesteps
    if num_steps > total:
        raise GuideGymError(f"`num_steps` must be <= {total}, the process' timesteps, got {num_steps}")
    count = torch.arange(num_steps, dtype=torch.float64)
    trailing = (total - count * (total / num_steps)).round() - 1
    steps = trailing if spacing == "trailing" else count.flip(0) * (total // num_steps)
    return torch.cat([steps.long(), torch.tensor([-1])])


@dataclass(frozen=True)
class DDIM:
    r"""Denoising diffusion implicit model, over any sub-sequence of steps.

    .. math::
        \hat x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t}\,\hat\epsilon}{\sqrt{\bar\alpha_t}}, \quad
        x_{t'} = \sqrt{\bar\alpha_{t'}}\,\hat x_0 + \sqrt{1 - \bar\alpha_{t'} - \sigma^2}\,\hat\epsilon + \sigma z, \quad
        \sigma = \eta \sqrt{\tfrac{1 - \bar\alpha_{t'}}{1 - \bar\alpha_t}\left(1 - \tfrac{\bar\alpha_t}{\bar\alpha_{t'}}\right)}

    Where the clean estimate is clipped, the noise is recomputed from it.

    Args:
        num_steps: Number of reverse steps, in 1 .. T.
        eta: Share of DDPM's noise, in [0, 1]: 0 is deterministic, 1 has DDPM's variance.
        spacing: ``trailing`` starts at the last training timestep, ``leading`` ends at the first.

    Source:
        Wang 2024, eq. 2.25 and Algorithms 5-6; Song et al. 2021.
    """

    num_steps: int = 50
    eta: float = 0.0
    spacing: str = "trailing"

    def __post_init__(self) -> None:
        _check_num_steps(self.num_steps, self.spacing)
        if not 0.0 <= self.eta <= 1.0:
            raise GuideGymError(f"`eta` must be in [0, 1], got {self.eta}")

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: where ``eta`` > 0."""
        return self.eta > 0

    def timesteps(self, process: Process) -> Int[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, closed by -1."""
        return _subsequence(self.num_steps, self.spacing, process)

    def step(
        self,
        x_t: Float[Tensor, " batch *event"],
        eps: Float[Tensor, " batch *event"],
        shift: Float[Tensor, " batch *event"] | None,
        *,
        t: Int[Tensor, " batch"],
        t_prev: Int[Tensor, " batch"],
        process: Process,
        noise: Float[Tensor, " batch *event"] | None,
        clip: float | None,
    ) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        alpha_bar_t, alpha_bar_prev = process.alpha_bar(t, x_t.dtype), process.alpha_bar(t_prev, x_t.dtype)
        sigma_t, sigma_prev = process.sigma(t, x_t.dtype), process.sigma(t_prev, x_t.dtype)
        eps_hat = eps if shift is None else guided_noise(eps, shift, sigma_t=sigma_t)
        x_0 = _clean(x_t, eps_hat, alpha_bar_t=alpha_bar_t, sigma_t=sigma_t)
        if clip is not None:
            x_0 = x_0.clamp(-clip, clip)
            eps_hat = (x_t - rows_like(alpha_bar_t.sqrt(), x_t) * x_0) / rows_like(sigma_t, x_t)
        added = self.eta * (sigma_prev / sigma_t) * (1 - alpha_bar_t / alpha_bar_prev).sqrt()
        direction = (sigma_prev.square() - added.square()).clamp_min(0).sqrt()
        x_prev = rows_like(alpha_bar_prev.sqrt(), x_t) * x_0 + rows_like(direction, x_t) * eps_hat
        if noise is not None and self.is_stochastic:
            x_prev = x_prev + rows_like(added, x_t) * noise
        return Reverse(x_prev, x_0)


@dataclass(frozen=True)
class DDPM:
    r"""Ancestral sampling over any sub-sequence of steps, guided in the mean.

    .. math::
        x_{t'} = \frac{\sqrt{\bar\alpha_{t'}} \beta}{1 - \bar\alpha_t} \hat x_0
        + \frac{\sqrt{\alpha} (1 - \bar\alpha_{t'})}{1 - \bar\alpha_t} x_t + \sigma^2 w g + \sigma z, \quad
        \alpha = \bar\alpha_t / \bar\alpha_{t'}, \quad \beta = 1 - \alpha

    The mean uses the unguided clean estimate; the guide shifts it by :math:`\sigma^2 w g`.

    Args:
        num_steps: Number of reverse steps, in 1 .. T.
        variance: ``small`` takes :math:`\sigma^2 = \beta (1 - \bar\alpha_{t'}) / (1 - \bar\alpha_t)`, ``large`` takes
            :math:`\sigma^2 = \beta`. No noise is added in the last step.
        spacing: ``trailing`` starts at the last training timestep, ``leading`` ends at the first.

    Source:
        Dinh et al. 2023, eq. 1-3 (Wang 2024, eq. 2.17, prints the shift without the square); Ho et al. 2020.
    """

    num_steps: int = 1000
    variance: str = "small"
    spacing: str = "trailing"

    def __post_init__(self) -> None:
        _check_num_steps(self.num_steps, self.spacing)
        if self.variance not in ("small", "large"):
            raise GuideGymError(f"`variance` must be 'small' or 'large', got {self.variance!r}")

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: always."""
        return True

    def timesteps(self, process: Process) -> Int[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, closed by -1."""
        return _subsequence(self.num_steps, self.spacing, process)

    def step(
        self,
        x_t: Float[Tensor, " batch *event"],
        eps: Float[Tensor, " batch *event"],
        shift: Float[Tensor, " batch *event"] | None,
        *,
        t: Int[Tensor, " batch"],
        t_prev: Int[Tensor, " batch"],
        process: Process,
        noise: Float[Tensor, " batch *event"] | None,
        clip: float | None,
    ) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        if noise is None:
            raise GuideGymError("`noise` must be given: ancestral sampling is stochastic")
        alpha_bar_t, alpha_bar_prev = process.alpha_bar(t, x_t.dtype), process.alpha_bar(t_prev, x_t.dtype)
        sigma_t, sigma_prev = process.sigma(t, x_t.dtype), process.sigma(t_prev, x_t.dtype)
        x_0 = _clean(x_t, eps, alpha_bar_t=alpha_bar_t, sigma_t=sigma_t)
        if clip is not None:
            x_0 = x_0.clamp(-clip, clip)
        alpha = alpha_bar_t / alpha_bar_prev
        beta = 1 - alpha
        kept = (sigma_prev / sigma_t).square()
        mean = (
            rows_like(alpha_bar_prev.sqrt() * beta / sigma_t.square(), x_t) * x_0
            + rows_like(alpha.sqrt() * kept, x_t) * x_t
        )
        variance = beta * kept if self.variance == "small" else beta
        if shift is not None:
            mean = mean + rows_like(variance, x_t) * shift
            eps_hat = guided_noise(eps, shift, sigma_t=sigma_t)
            x_0 = _clean(x_t, eps_hat, alpha_bar_t=alpha_bar_t, sigma_t=sigma_t)
            x_0 = x_0 if clip is None else x_0.clamp(-clip, clip)
        spread = torch.where(t_prev >= 0, variance.sqrt(), torch.zeros_like(variance))
        return Reverse(mean + rows_like(spread, x_t) * noise, x_0)


def _clean(
    x_t: Float[Tensor, " batch *event"],
    eps: Float[Tensor, " batch *event"],
    *,
    alpha_bar_t: Float[Tensor, " batch"],
    sigma_t: Float[Tensor, " batch"],
) -> Float[Tensor, " batch *event"]:
    r"""Return the clean estimate :math:`(x_t - \sigma_t \hat\epsilon) / \sqrt{\bar\alpha_t}`."""
    return (x_t - rows_like(sigma_t, x_t) * eps) / rows_like(alpha_bar_t.sqrt(), x_t)
