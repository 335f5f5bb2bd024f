"""Models of guided-diffusion (ADM), from the attributes of its diffusion objects; the package itself is not needed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guidegym.diffusion import DDPM, TableProcess
from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier

MEANS = {"EPSILON": "noise", "START_X": "denoised"}
VARIANCES = {"FIXED_SMALL": "small", "FIXED_LARGE": "large", "LEARNED_RANGE": "learned"}


def guided_diffusion_parts(
    network: Callable[..., Tensor],
    diffusion: Any,
    *,
    event_shape: tuple[int, ...],
    class_names: Sequence[str] = (),
    classifiers: Mapping[str, Classifier] | None = None,
    conditional: bool = False,
) -> dict[str, Any]:
    """Return the arguments of a ``Model``; see ``Model.from_guided_diffusion``."""
    prediction = _named("model_mean_type", diffusion, MEANS)
    variance = _named("model_var_type", diffusion, VARIANCES)
    at = _times(diffusion)
    parameters = getattr(network, "parameters", None)
    device = next(parameters()).device if parameters else torch.device("cpu")

    def unconditional(x: Tensor, t: Tensor) -> Tensor:
        return network(x, at(t))

    def of_class(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return network(x, at(t), y=label)

    networks: dict[str, Any] = (
        {"conditionals": {"conditional": of_class}, "null_class": False} if conditional else {"denoiser": unconditional}
    )
    return dict(
        process=TableProcess(tuple(float(one) for one in diffusion.alphas_cumprod)),
        event_shape=event_shape,
        class_names=tuple(class_names) or ("all",),
        classifiers={key: _classifier(own, at) for key, own in (classifiers or {}).items()},
        prediction=prediction,
        learned_variance=variance == "learned",
        clip=1.0,
        device=device,
        rule=lambda steps: DDPM(steps, variance=variance, spacing="linspace", last="previous"),
        **networks,
    )


def _named(attribute: str, diffusion: Any, known: Mapping[str, str]) -> str:
    """Return our name of a kind of mean or variance."""
    kind = str(getattr(getattr(diffusion, attribute, None), "name", None))
    if kind not in known:
        raise GuideGymError(f"must have a `{attribute}` of {', '.join(known)}, got {kind}", argument="diffusion")
    return known[kind]


def _times(diffusion: Any) -> Callable[[Tensor], Tensor]:
    """Return the function from a diffusion's timesteps to those that its networks know."""
    visited = getattr(diffusion, "timestep_map", None)
    total = getattr(diffusion, "original_num_steps", diffusion.num_timesteps)
    scale = 1000 / total if getattr(diffusion, "rescale_timesteps", False) else 1.0
    if visited is None:
        return lambda t: scale * t
    table = torch.tensor([float(one) for one in visited], dtype=torch.float64)
    return lambda t: scale * table.to(t.device)[t.long()].to(t.dtype)


def _classifier(network: Classifier, at: Callable[[Tensor], Tensor]) -> Classifier:
    """Return a classifier of noisy images as a function of the diffusion's timesteps."""
    return lambda x, t: network(x, at(t))
