"""Training of max-Mahalanobis classifiers: discriminative, generative, and one after the other."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.errors import GuideGymError
from guidegym.networks import MaxMahalanobisClassifier
from guidegym.training.energy_based import contrast
from guidegym.training.langevin import Langevin
from guidegym.training.loss import UNKNOWN, Loss
from guidegym.training.replay import ReplayBuffer

Targets = Literal["staged", "noise-injected"]
LIMIT = 1e5
"""Energies beyond this have diverged: those of features at the other centres are about S^2 = 100."""
CHAINS = Langevin(step_size=0.1, clip=1.0)
"""The steps of chains, which are images."""


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

    .. math:: L = (1 - b)\, E(x, y) + b\, \big( E(x, y) - E(x', y') + \rho\, (E(x, y)^2 + E(x', y')^2) \big)

    with chains ``x'`` that go down :math:`\tfrac12 \|\phi(x') - z\|^2` to a target :math:`z \sim N(\mu_{y'}, I)`: one for all
    steps of an update (``staged``), or a new one at each (``noise-injected``). ``b`` is 1; in joint training, it is 0 for
    ``pretrain`` steps, which are discriminative, and then grows to 1 over as many.

    The paper weights the samples' energy by 0.5. The loss then has no equilibrium where samples are like data: it keeps lowering
    the energy of both, and chains end far above the data. Its step of 1 overshoots; so the step here is 0.1.

    Args:
        buffer: Buffer that chains start from, tagged with their class.
        num_classes: Number of classes.
        targets: How targets are drawn.
        chains: The steps of an update.
        pretrain: Steps of discriminative pretraining, and of the growth of ``b``; 0 for none.
        magnitude: ``rho`` >= 0: without it nothing bounds the energy of chains that overshoot, and it diverges. It balances the
            difference at :math:`1 / 2\rho`, which must be above the energies of the data.

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
        chains: Langevin = CHAINS,
        pretrain: int = 0,
        magnitude: float = 0.0,
    ) -> None:
        super().__init__()
        if targets not in ("staged", "noise-injected"):
            raise GuideGymError(f"`targets` must be 'staged' or 'noise-injected', got {targets!r}")
        self.buffer, self.num_classes, self.targets = buffer, num_classes, targets
        self.chains, self.pretrain, self.magnitude = chains, pretrain, magnitude
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def _generative_share(self) -> float:
        """Return ``b`` of this step, and count the step."""
        done = int(self.done)
        self.done += 1
        return min(max(done - self.pretrain, 0) / self.pretrain, 1.0) if self.pretrain else 1.0

    def _move(
        self, mixture: MaxMahalanobisClassifier, chains: Tensor, centres: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return chains after the steps of an update."""

        def drawn() -> Tensor:
            noise = torch.randn(centres.shape, generator=generator, device=centres.device, dtype=centres.dtype)
            return centres + noise

        staged = drawn() if self.targets == "staged" else None

        def slope(x: Tensor) -> Tensor:
            target = drawn() if staged is None else staged
            with torch.enable_grad():
                here = x.detach().requires_grad_(True)
                (downhill,) = torch.autograd.grad(-_energies(mixture.features(here), target).sum(), here)
            found: Tensor = downhill
            return found

        return self.chains(chains, slope, generator)

    def forward(
        self,
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of one batch; the chains move on."""
        mixture, known, share = _of(network), labels != UNKNOWN, self._generative_share()
        centres = mixture.means[labels[known]]
        if share == 0:
            return _energies(mixture.features(images[known]), centres).mean()
        wanted = torch.randint(self.num_classes, labels.shape, generator=generator, device=labels.device)
        slots, chains, classes = self.buffer.draw(wanted, generator)
        chains = self._move(mixture, chains, mixture.means[classes], generator)
        self.buffer.put(slots, chains, classes)
        features = mixture.features(torch.cat([images[known], chains]))
        energies = _energies(features, torch.cat([centres, mixture.means[classes]]))
        real, sampled = energies.split([len(centres), len(chains)])
        generative = contrast(real, sampled, magnitude=self.magnitude, limit=LIMIT)
        loss: Tensor = (1 - share) * real.mean() + share * generative
        return loss


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
