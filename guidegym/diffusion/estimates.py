"""The guided noise and clean estimate of a step, which all samplers start from."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.predicted import Predicted
from guidegym.diffusion.process import Process, rows_like
from guidegym.diffusion.sampler import Step
from guidegym.errors import GuideGymError


def guided_noise(
    eps: Float[Tensor, " batch *event"],
    shift: Float[Tensor, " batch *event"],
    *,
    sigma_t: Float[Tensor, " batch"],
) -> Float[Tensor, " batch *event"]:
    r"""Shift the predicted noise along the guide's weighted gradient.

    .. math:: \hat\epsilon = \epsilon_\theta(x_t) - \sigma_t\, w g

    with :math:`\sigma_t = \sqrt{1 - \bar\alpha_t}` under VP.

    Args:
        eps: Predicted noise, unit variance at every noise level.
        shift: Weight times gradient, in 1 / (unit of ``x``).
        sigma_t: Standard deviation of the noise, >= 0.

    Source:
        Wang 2024, Algorithm 6; Dhariwal and Nichol 2021, Algorithm 2.
    """
    return eps - rows_like(sigma_t, eps) * shift


def clean_estimate(
    x_t: Float[Tensor, " batch *event"],
    predicted: Predicted,
    *,
    t: Shaped[Tensor, " batch"],
    process: Process,
    clip: float | None,
) -> Float[Tensor, " batch *event"]:
    r"""Return the clean data predicted, or :math:`(x_t - \sigma_t \epsilon) / \sqrt{\bar\alpha_t}`, within ``clip``."""
    if predicted.x_0 is not None:
        return _clipped(predicted.x_0, clip)
    alpha_bar_t, sigma_t = process.alpha_bar(t, x_t.dtype), process.sigma(t, x_t.dtype)
    return _clipped((x_t - rows_like(sigma_t, x_t) * predicted.eps) / rows_like(alpha_bar_t.sqrt(), x_t), clip)


def unguided_estimate(step: Step) -> Float[Tensor, " batch *event"]:
    """Return the clean estimate of a step without guidance; see ``clean_estimate``."""
    return _estimate(step, step.predicted, step.clip)


def _noise_of(step: Step, x_0: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch *event"]:
    """Return the noise of a clean estimate."""
    return (step.x - rows_like(step.alpha_bar.sqrt(), step.x) * x_0) / rows_like(step.sigma, step.x)


def _estimate(step: Step, predicted: Predicted, clip: float | None) -> Float[Tensor, " batch *event"]:
    """Return the clean estimate of a step for a prediction, with the levels that the step knows."""
    x_0 = predicted.x_0
    if x_0 is None:
        x_0 = (step.x - rows_like(step.sigma, step.x) * predicted.eps) / rows_like(step.alpha_bar.sqrt(), step.x)
    return _clipped(x_0, clip)


def _clipped(x_0: Float[Tensor, " batch *event"], clip: float | None) -> Float[Tensor, " batch *event"]:
    """Return clean data within a bound."""
    return x_0 if clip is None else x_0.clamp(-clip, clip)


CLIPPINGS = ("guided", "estimate", "unguided")


def check_clipping(clipping: str) -> None:
    """Reject an unknown order of clipping and guidance."""
    if clipping not in CLIPPINGS:
        raise GuideGymError(f"must be one of {', '.join(CLIPPINGS)}, got {clipping!r}", argument="clipping")


def guided_estimate(
    step: Step, *, clipping: str = "guided"
) -> tuple[Float[Tensor, " batch *event"], Float[Tensor, " batch *event"]]:
    """Return the guided clean estimate and the noise of the step.

    Args:
        step: The step.
        clipping: ``guided`` clips the guided estimate and recomputes the noise from it; ``estimate`` clips it and keeps the
            noise, as diffusers does; ``unguided`` clips the unguided estimate, recomputes the noise, and then guides, as
            guided-diffusion does.
    """
    eps, x_0, _ = step.predicted
    clip = step.clip
    if clipping == "unguided" and clip is not None:
        x_0, clip = _estimate(step, step.predicted, clip), None
        eps = _noise_of(step, x_0)
    if step.shift is not None:
        eps = guided_noise(eps, step.shift, sigma_t=step.sigma)
        if x_0 is not None and step.clean_shift is not None:
            x_0 = x_0 + step.clean_shift
        elif x_0 is not None:
            # Where the signal ends, a gradient of the noisy rows says nothing about the clean ones.
            reach = torch.where(step.alpha_bar > 0, step.sigma.square() / step.alpha_bar.sqrt(), 0.0)
            x_0 = x_0 + rows_like(reach, step.x) * step.shift
    estimate = _estimate(step, Predicted(eps, x_0), clip)
    return estimate, _noise_of(step, estimate) if clip is not None and clipping == "guided" else eps
