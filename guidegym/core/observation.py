"""What a policy observes of a trajectory: a short vector per row, the same in the environments and in plain sampling."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.core.engine import Engine
from guidegym.core.prediction import Prediction
from guidegym.core.state import State
from guidegym.diffusion import noise_share
from guidegym.errors import GuideGymError

FEATURES = (
    "progress",
    "noise_level",
    "last_weight",
    "guide_log_probability",
    "clean_log_probability",
    "entropy",
    "gradient_norm",
    "cosine",
    "energy_divergence",
    "degree",
)
"""The features in order; a policy file names them, so that a policy trained on other features is rejected."""
LEAST_LOG_PROBABILITY = -20.0
BOUND = 1e3
"""Bound on the absolute value of a feature."""


@torch.no_grad()
def observe(engine: Engine, state: State, prediction: Prediction | None) -> Float[Tensor, " batch features"]:
    r"""Return the features of each row, float32 and finite.

    ==========================  ==================================================================================
    ``progress``                completed share of the chain, 0 .. 1
    ``noise_level``             root of the share of noise (:math:`\sigma_t` under VP), 0 once the chain has ended
    ``last_weight``             :math:`\log(1 + |w|)` of the last step
    ``guide_log_probability``   :math:`\log p(c | x_t)` under the guide, from -20, divided by 10
    ``clean_log_probability``   the same at the clean estimate and t = 0
    ``entropy``                 entropy of the guide's posterior at ``x_t`` over :math:`\log K`
    ``gradient_norm``           :math:`\log(1 + \sigma_t \|g\|)`
    ``cosine``                  cosine between the guide's gradient and the denoiser's score
    ``energy_divergence``       :math:`\mathrm{asinh}(E(x_t) - E^*_c)`; 0 where the model knows no class energies
    ``target``                  target probability of the wanted class
    ==========================  ==================================================================================

    Args:
        engine: The engine, which must have a guide if a prediction is given.
        state: The batch.
        prediction: The networks' prediction, with the guide evaluated on all rows and at the clean estimate; None if there is
            none. The features that come from the networks are 0 for rows that have ended.
    """
    t, _ = engine.at(state)
    dtype = state.x.dtype
    ended = engine.ended(state)
    sigma = torch.where(ended, 0.0, noise_share(engine.model.process, t).sqrt().to(dtype))
    zero = torch.zeros(len(state), dtype=dtype, device=state.x.device)
    told = (
        [zero] * 6
        if prediction is None
        else [column.where(~ended, zero) for column in _told(engine, state, prediction)]
    )
    wanted = state.target.gather(1, state.label[:, None])[:, 0]
    columns = (state.step / engine.sampler.num_steps, sigma, state.weight.abs().log1p(), *told, wanted)
    return torch.stack([column.float() for column in columns], dim=1).nan_to_num(0.0).clamp(-BOUND, BOUND)


def _told(engine: Engine, state: State, prediction: Prediction) -> tuple[Tensor, ...]:
    """Return the six features that come from the networks."""
    if prediction.gradient is None or prediction.logits is None or prediction.clean_logits is None:
        raise GuideGymError("`prediction` must come from `predict(state, clean=True)`")
    assert engine.guide is not None and engine.guide.classifier is not None
    model, classifier = engine.model, engine.guide.classifier
    t = engine.at(state)[0] if prediction.raised is None else prediction.raised.t
    label, sigma = state.label[:, None], model.process.sigma(t, state.x.dtype)
    log_p = prediction.logits.log_softmax(dim=1)
    clean_log_p = prediction.clean_logits.log_softmax(dim=1).gather(1, label)[:, 0]
    entropy = -(log_p.exp() * log_p).nan_to_num(0.0).sum(dim=1) / math.log(model.num_classes)
    gradient, score = prediction.gradient.flatten(1), -prediction.eps.flatten(1)
    energies = model.class_energies.get(classifier)
    divergence = torch.zeros_like(entropy)
    if energies is not None:
        divergence = (-prediction.logits.logsumexp(dim=1) - energies[state.label]).asinh()
    return (
        log_p.gather(1, label)[:, 0].clamp_min(LEAST_LOG_PROBABILITY) / 10,
        clean_log_p.clamp_min(LEAST_LOG_PROBABILITY) / 10,
        entropy,
        (sigma * gradient.norm(dim=1)).log1p(),
        torch.nn.functional.cosine_similarity(gradient, score, dim=1),
        divergence,
    )
