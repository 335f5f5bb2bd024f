"""Training of max-Mahalanobis classifiers: discriminative, generative, and one after the other."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.errors import GuideGymError
from guidegym.networks import MaxMahalanobisClassifier
from guidegym.training.energy_based import check_energies
from guidegym.training.loss import UNKNOWN, Loss
from guidegym.training.replay import ReplayBuffer

Targets = Literal["staged", "noise-injected"]
LIMIT = 1e5
"""Energies beyond this have diverged: those of features at the other centres are about S^2 = 100."""


def _energies(features: Float[Tensor, " batch dim"], centres: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch"]:
    r"""Return :math:`\frac12 \|\phi - z\|^2`: the variance is 1 during training and estimated afterwards."""
    return (features - centres).square().sum(dim=1) / 2


def _of(network: nn.Module) -> MaxMahalanobisClassifier:
    if not isinstance(network, MaxMahalanobisClassifier):
        raise GuideGymError(f"this loss is for a MaxMahalanobisClassifier, got {type(network).__name__}")
    return network


def center_regression() -> Loss:
    r"""Return the loss of discriminative training, :math:`L = E(x, y) = \frac12 \|\phi(x) - \mu_y\|^2`.

    Source:
        Yang et al. 2021, eq. 5; Pang et al. 2020.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        known, mixture = labels != UNKNOWN, _of(network)
        return _energies(mixture.features(images[known]), mixture.means[labels[known]]).mean()

    return loss


class GenerativeMaxMahalanobis(nn.Module):
    r"""Generative training: lowers the energy of data and raises that of samples from the mixture.

    .. math:: L = E(x, y) - \beta \big( E(x', y') - \rho E(x', y')^2 \big), \qquad
              x' \leftarrow x' - \alpha \nabla \tfrac12 \|\phi(x') - z\|^2, \quad z \sim N(\mu_{y'}, I)

    with one target ``z`` for all steps (``staged``) or a new one at each (``noise-injected``). In joint
    training, after ``pretrain`` steps of discriminative training, ``beta`` grows from 0 to its value over as many steps.

    Args:
        buffer: Buffer that chains start from, tagged with their class.
        num_classes: Number of classes.
        targets: How targets are drawn.
        beta: Weight of the samples' energy.
        num_steps: Steps of a chain per update, >= 1.
        step_size: ``alpha`` > 0.
        pretrain: Steps of discriminative pretraining, and of the growth of ``beta``; 0 for none.
        magnitude: Weight of the squared energy of the samples, added to their energy, >= 0: without it nothing bounds that
            energy once chains overshoot, and it diverges. It balances the first term at :math:`1 / 2\rho`, which should
            be above the energy of the targets themselves, half the dimension.
        clip: Bound on the absolute value of chains, which are images; None for no bound.

    Source:
        Yang et al. 2021, eq. 7-10, Algorithm 1, section 3.3; Table 8 for the settings; Du and Mordatch 2019 for the magnitude
        term.
    """

    done: Tensor

    def __init__(
        self,
        buffer: ReplayBuffer,
        *,
        num_classes: int,
        targets: Targets = "staged",
        beta: float = 0.5,
        num_steps: int = 20,
        step_size: float = 1.0,
        pretrain: int = 0,
        magnitude: float = 0.0,
        clip: float | None = None,
    ) -> None:
        super().__init__()
        if targets not in ("staged", "noise-injected"):
            raise GuideGymError(f"`targets` must be 'staged' or 'noise-injected', got {targets!r}")
        self.buffer, self.num_classes, self.targets = buffer, num_classes, targets
        self.beta, self.num_steps, self.step_size = beta, num_steps, step_size
        self.pretrain, self.magnitude, self.clip = pretrain, magnitude, clip
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def _beta(self) -> float:
        """Return the weight of this step's samples, and count the step."""
        done = int(self.done)
        self.done += 1
        return self.beta * min(max(done - self.pretrain, 0) / self.pretrain, 1.0) if self.pretrain else self.beta

    def _target(self, centres: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(centres.shape, generator=generator, device=centres.device, dtype=centres.dtype)
        return centres + noise

    def forward(
        self,
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of one batch; the chains move on."""
        mixture, known, beta = _of(network), labels != UNKNOWN, self._beta()
        if beta == 0:
            return _energies(mixture.features(images[known]), mixture.means[labels[known]]).mean()
        wanted = torch.randint(self.num_classes, labels.shape, generator=generator, device=labels.device)
        slots, chains, classes = self.buffer.draw(wanted, generator)
        centres = mixture.means[classes]
        target = self._target(centres, generator)
        for _ in range(self.num_steps):
            with torch.enable_grad():
                here = chains.detach().requires_grad_(True)
                (uphill,) = torch.autograd.grad(_energies(mixture.features(here), target).sum(), here)
            chains = here.detach() - self.step_size * uphill
            chains = chains if self.clip is None else chains.clamp(-self.clip, self.clip)
            if self.targets == "noise-injected":
                target = self._target(centres, generator)
        self.buffer.put(slots, chains, classes)
        features = mixture.features(torch.cat([images[known], chains]))
        real, sampled = features.split([int(known.sum()), len(chains)])
        energy_real = _energies(real, mixture.means[labels[known]])
        energy_sampled = _energies(sampled, centres)
        check_energies(energy_real, energy_sampled, LIMIT)
        return energy_real.mean() - beta * (energy_sampled - self.magnitude * energy_sampled.square()).mean()


@torch.no_grad()
def estimate_variance(
    network: MaxMahalanobisClassifier,
    images: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    *,
    chunk: int = 500,
) -> float:
    r"""Set and return :math:`\gamma^2 = \frac{1}{d n} \sum_i \|\phi(x_i) - \mu_{y_i}\|^2` from training images.

    Source:
        Yang et al. 2021, section 3.1.
    """
    total = sum(
        float((network.features(x) - network.means[y]).double().square().sum())
        for x, y in zip(images.split(chunk), labels.split(chunk), strict=True)
    )
    network.variance.fill_(total / (len(images) * network.means.shape[1]))
    return float(network.variance)
