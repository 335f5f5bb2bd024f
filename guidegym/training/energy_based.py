"""Joint energy-based training: cross-entropy, and lower energies for data than for Langevin samples."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import Process, noisy_rows, rows_like
from guidegym.metrics.gradients import density_score, of_class
from guidegym.training.langevin import Langevin
from guidegym.training.loss import DivergedError, labelled_cross_entropy, noised
from guidegym.training.replay import ReplayBuffer

LIMIT = 1e3
"""Energies beyond this have diverged: normal ones are of the order of the logits."""
CHAINS = Langevin(clip=1.0)
"""The steps of chains of clean images."""
TIMED_CHAINS = Langevin(step_size=0.05, noise=0.1**0.5)
"""The steps of chains of noisy images."""


def check_energies(real: Float[Tensor, " batch"], sampled: Float[Tensor, " batch"], limit: float = LIMIT) -> None:
    """Stop a training whose energies diverge, before its weights become useless.

    Raises:
        DivergedError: If a mean energy, or the difference between them, is not finite or beyond the limit.
    """
    means = torch.stack([real.detach().mean(), sampled.detach().mean()]).tolist()
    if not all(abs(mean) < limit for mean in (*means, means[0] - means[1])):
        raise DivergedError(
            f"the energies diverged: mean {means[0]:.4g} on data and {means[1]:.4g} on samples, beyond {limit:g}; "
            "try a smaller learning rate, more Langevin steps or another seed"
        )


def contrast(
    real: Float[Tensor, " n"], sampled: Float[Tensor, " m"], *, magnitude: float, limit: float = LIMIT
) -> Float[Tensor, ""]:
    r"""Return :math:`E(x) - E(x') + \rho\,(E(x)^2 + E(x')^2)` of energies, means over rows; the last term keeps them near zero.

    Raises:
        DivergedError: If the energies are beyond the limit.

    Source:
        Du and Mordatch 2019, section 3.2, for the magnitude term.
    """
    check_energies(real, sampled, limit)
    return real.mean() - sampled.mean() + magnitude * (real.square().mean() + sampled.square().mean())


class JointEnergyLoss(nn.Module):
    r"""Cross-entropy plus the energy-based loss of :math:`E(x) = -\log \sum_y e^{f(x)_y}`, for clean images.

    .. math:: L = L_{CE} + w\,(E(x + \xi) - E(x')), \qquad x' \leftarrow x' - \alpha \nabla E(x') + \sigma\, n

    with chains ``x'`` from a replay buffer and a little noise ``xi`` on the data. With ``num_classes`` each chain has a class
    ``y`` and follows :math:`\nabla f(x')_y`: a sample of ``p(y) p(x|y)``, which has the marginal ``p(x)`` once converged, and
    converges better.

    Args:
        buffer: Buffer that chains start from, tagged with their class.
        num_classes: Number of classes that chains are drawn for; 0 for chains without a class.
        chains: The steps of an update.
        data_noise: Standard deviation of ``xi``.
        weight: ``w`` >= 0.
        magnitude: Weight of the squared energies, added to the difference, >= 0; see ``contrast``.

    Source:
        Grathwohl et al. 2020, eq. 5-8 and their settings (20 steps of 1, noise 0.01, data noise 0.03, restarts 5 %; their
        published code draws chains per class).
    """

    def __init__(
        self,
        buffer: ReplayBuffer,
        *,
        num_classes: int = 0,
        chains: Langevin = CHAINS,
        data_noise: float = 0.03,
        weight: float = 1.0,
        magnitude: float = 0.0,
    ) -> None:
        super().__init__()
        self.buffer, self.num_classes, self.chains = buffer, num_classes, chains
        self.data_noise, self.weight, self.magnitude = data_noise, weight, magnitude

    def forward(
        self,
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of one batch, and advance the chains."""
        wanted = torch.zeros_like(labels)
        if self.num_classes:
            wanted = torch.randint(self.num_classes, labels.shape, generator=generator, device=labels.device)
        slots, chains, tags = self.buffer.draw(wanted, generator)
        followed = of_class(network, tags) if self.num_classes else network
        chains = self.chains(chains, lambda x: density_score(followed, x), generator)
        self.buffer.put(slots, chains, tags)
        jitter = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        # One pass for all three: clean images for the classes, noisy ones and samples for the energy.
        logits = network(torch.cat([images, images + self.data_noise * jitter, chains]))
        plain, *others = logits.split([len(images), len(images), len(chains)])
        real, sampled = (-one.logsumexp(dim=1) for one in others)
        return labelled_cross_entropy(plain, labels) + self.weight * contrast(real, sampled, magnitude=self.magnitude)


class TimedJointEnergyLoss(nn.Module):
    r"""The joint energy-based loss for noisy images: each chain has a timestep and is compared with data at that timestep.

    Langevin steps are in units of the level's noise, as the energy of a level is as narrow as its noise. The paper found this
    training unstable and expensive; ``check_energies`` detects divergence.

    Args:
        process: The noise process.
        buffer: Buffer that chains start from, tagged with their timestep; preferably of Gaussian noise.
        chains: The steps of an update.
        weight: Weight of the energy-based loss, >= 0.
        magnitude: Weight of the squared energies, added to the difference, >= 0; see ``contrast``.

    Source:
        CG-SC, section 3.2 (CG-JEM).
    """

    def __init__(
        self,
        process: Process,
        buffer: ReplayBuffer,
        *,
        chains: Langevin = TIMED_CHAINS,
        weight: float = 1.0,
        magnitude: float = 0.0,
    ) -> None:
        super().__init__()
        self.process, self.buffer, self.chains = process, buffer, chains
        self.weight, self.magnitude = weight, magnitude

    def forward(
        self,
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of one batch, and advance the chains."""
        rows = noised(self.process, images, generator)
        slots, chains, t = self.buffer.draw(rows.t, generator)
        sigma = rows_like(self.process.sigma(t, images.dtype), images)
        chains = self.chains(chains, lambda x: density_score(network, x, t.float()), generator, unit=sigma)
        self.buffer.put(slots, chains, t)
        # The data must be at the samples' timesteps for the energies to be comparable.
        beside = noisy_rows(self.process, images[: len(t)], t, rows.noise[: len(t)])
        logits = network(torch.cat([rows.x_t, beside, chains]), torch.cat([rows.t, t, t]).float())
        plain, *others = logits.split([len(images), len(t), len(t)])
        real, sampled = (-one.logsumexp(dim=1) for one in others)
        return labelled_cross_entropy(plain, labels) + self.weight * contrast(real, sampled, magnitude=self.magnitude)
