"""The guided noise and clean estimate of a step, which all samplers start from."""

from dataclasses import replace

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
    x_0 = predicted.x_0
    if x_0 is None:
        alpha_bar_t, sigma_t = process.alpha_bar(t, x_t.dtype), process.sigma(t, x_t.dtype)
        x_0 = (x_t - rows_like(sigma_t, x_t) * predicted.eps) / rows_like(alpha_bar_t.sqrt(), x_t)
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
    x, t, process = step.x, step.t, step.process
    sigma_t, alpha_bar_t = process.sigma(t, x.dtype), process.alpha_bar(t, x.dtype)
    if clipping == "unguided" and step.clip is not None:
        clean, eps = guided_estimate(replace(step, shift=None, clean_shift=None))
        return guided_estimate(replace(step, eps=eps, x_0=clean, clip=None))
    eps_hat, x_0, _ = step.predicted
    if step.shift is not None:
        eps_hat = guided_noise(step.eps, step.shift, sigma_t=sigma_t)
        if x_0 is not None and step.clean_shift is not None:
            x_0 = x_0 + step.clean_shift
        elif x_0 is not None:
            # Where the signal ends, a gradient of the noisy rows says nothing about the clean ones.
            reach = torch.where(alpha_bar_t > 0, sigma_t.square() / alpha_bar_t.sqrt(), 0.0)
            x_0 = x_0 + rows_like(reach, x) * step.shift
    estimate = clean_estimate(x, Predicted(eps_hat, x_0), t=t, process=process, clip=step.clip)
    if step.clip is not None and clipping == "guided":
        eps_hat = (x - rows_like(alpha_bar_t.sqrt(), x) * estimate) / rows_like(sigma_t, x)
    return estimate, eps_hat
