"""Objectives that measure each sample on its own."""

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.objectives.definition import Finished, registered_objective


@registered_objective(floor=-20.0)
def confidence(finished: Finished) -> Float[Tensor, " batch"]:
    r"""Return :math:`\log p(c | x)` of the wanted class under the judge."""
    return finished.seen.logits.log_softmax(dim=1).gather(1, finished.labels[:, None])[:, 0]


@registered_objective(floor=0.0)
def accuracy(finished: Finished) -> Float[Tensor, " batch"]:
    """Return 1 where the judge assigns the sample to the wanted class, else 0."""
    return finished.seen.hits(finished.labels).double()


@registered_objective(floor=-20.0)
def guide_confidence(finished: Finished) -> Float[Tensor, " batch"]:
    r"""Return :math:`\log p(c | x)` under the guide's own classifier: the guide measures itself."""
    return _guide_logits(finished).log_softmax(dim=1).gather(1, finished.labels[:, None])[:, 0]


@registered_objective(direction="minimize", floor=100.0, title="energy divergence")
def energy_divergence(finished: Finished) -> Float[Tensor, " batch"]:
    r"""Return :math:`|E^*_c - E(x)|` under the guide's classifier.

    Source:
        Wang 2024, section 4.8.
    """
    energy = -_guide_logits(finished).logsumexp(dim=1)
    known, classifier = finished.model.class_energies, _guide_classifier(finished)
    if classifier not in known:
        raise GuideGymError(
            f"objective 'energy_divergence' needs the model's `class_energies` of classifier '{classifier}'; "
            f"it has those of {', '.join(known) or 'none'}"
        )
    return (known[classifier].to(energy)[finished.labels] - energy).abs()


def _guide_classifier(finished: Finished) -> str:
    name = None if finished.guide is None else finished.guide.classifier
    if name is None:
        raise GuideGymError("this objective needs the guide's classifier, and the guide has none")
    return name


def _guide_logits(finished: Finished) -> Tensor:
    x = finished.x
    return finished.model.classifier(_guide_classifier(finished))(x, torch.zeros(len(x), device=x.device))


@registered_objective(direction="minimize", floor=1e6, title="evaluations")
def evaluations(finished: Finished) -> Float[Tensor, " batch"]:
    """Return the network evaluations that each sample took: classifier-free guidance of weight 0 costs half in a step."""
    if finished.evaluations is None:
        raise GuideGymError("objective 'evaluations' needs samples whose cost is known")
    return finished.evaluations.double()
