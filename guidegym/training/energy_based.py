"""Joint energy-based training: cross-entropy, and lower energies for data than for Langevin samples."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import Process, noisy_rows, rows_like
from guidegym.metrics.gradients import density_score, of_class
from guidegym.training.loss import DivergedError, labelled_cross_entropy, noised
from guidegym.training.replay import ReplayBuffer

LIMIT = 1e3
"""Energies beyond this have diverged: normal ones are of the order of the logits."""


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
    real: Float[Tensor, " n classes"], sampled: Float[Tensor, " m classes"], magnitude: float
) -> Float[Tensor, ""]:
    r"""Return :math:`E(x) - E(x') + \rho\,(E(x)^2 + E(x')^2)` of logits, means over rows; the last term keeps energies near zero.

    Raises:
        DivergedError: If the energies diverged.

    Source:
        Du and Mordatch 2019, section 3.2, for the magnitude term.
    """
    data, chains = -real.logsumexp(dim=1), -sampled.logsumexp(dim=1)
    check_energies(data, chains)
    return data.mean() - chains.mean() + magnitude * (data.square().mean() + chains.square().mean())


class JointEnergyLoss(nn.Module):
    r"""Cross-entropy plus the energy-based loss of :math:`E(x) = -\log \sum_y e^{f(x)_y}`, for clean images.

    .. math:: L = L_{CE} + w\,(E(x + \xi) - E(x')), \qquad x' \leftarrow x' - \alpha \nabla E(x') + \sigma\, n

    with chains ``x'`` from a replay buffer and a little noise ``xi`` on the data. With ``num_classes`` each chain has a class
    ``y`` and follows :math:`\nabla f(x')_y`: a sample of ``p(y) p(x|y)``, which has the marginal ``p(x)`` once converged, and
    converges better.

    Args:
        buffer: Buffer that chains start from, tagged with their class.
        num_classes: Number of classes that chains are drawn for; 0 for chains without a class.
        num_steps: Langevin steps per update, >= 1.
        step_size: ``alpha``.
        noise: ``sigma``.
        data_noise: Standard deviation of ``xi``.
        weight: ``w`` >= 0.
        magnitude: Weight of the squared energies, added to the difference, >= 0; see ``contrast``.
        clip: Bound on the absolute value of chains, which are images; None for no bound.

    Source:
        Grathwohl et al. 2020, eq. 5-8 and their settings (20 steps of 1, noise 0.01, data noise 0.03, restarts 5 %; their
        published code draws chains per class).
    """

    def __init__(
        self,
        buffer: ReplayBuffer,
        *,
        num_classes: int = 0,
        num_steps: int = 20,
        step_size: float = 1.0,
        noise: float = 0.01,
        data_noise: float = 0.03,
        weight: float = 1.0,
        magnitude: float = 0.0,
        clip: float | None = None,
    ) -> None:
        super().__init__()
        self.buffer, self.num_classes = buffer, num_classes
        self.num_steps, self.step_size, self.noise = num_steps, step_size, noise
        self.data_noise, self.weight, self.magnitude, self.clip = data_noise, weight, magnitude, clip

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
        for _ in range(self.num_steps):
            jitter = torch.randn(chains.shape, generator=generator, device=chains.device, dtype=chains.dtype)
            chains = chains + self.step_size * density_score(followed, chains) + self.noise * jitter
            chains = chains if self.clip is None else chains.clamp(-self.clip, self.clip)
        self.buffer.put(slots, chains, tags)
        jitter = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        # One pass for all three: clean images for the classes, noisy ones and samples for the energy.
        logits = network(torch.cat([images, images + self.data_noise * jitter, chains]))
        plain, real, sampled = logits.split([len(images), len(images), len(chains)])
        return labelled_cross_entropy(plain, labels) + self.weight * contrast(real, sampled, self.magnitude)


class TimedJointEnergyLoss(nn.Module):
    r"""The joint energy-based loss for noisy images: each chain has a timestep and is compared with data at that timestep.

    Langevin steps are in units of the level's noise, :math:`x' \leftarrow x' - \alpha \sigma_t^2 \nabla E(x', t) +
    \sqrt{2 \alpha}\, \tau \sigma_t n`, as the energy of a level is as narrow as its noise. The paper found this training
    unstable and expensive; ``check_energies`` detects divergence.

    Args:
        process: The noise process.
        buffer: Buffer that chains start from, tagged with their timestep; preferably of Gaussian noise.
        num_steps: Langevin steps per update, >= 1.
        step_size: ``alpha`` > 0.
        temperature: Factor ``tau`` >= 0 on the noise; below 1 the chains converge in fewer steps.
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
        num_steps: int = 20,
        step_size: float = 0.05,
        temperature: float = 1.0,
        weight: float = 1.0,
        magnitude: float = 0.0,
    ) -> None:
        super().__init__()
        self.process, self.buffer = process, buffer
        self.num_steps, self.step_size, self.temperature = num_steps, step_size, temperature
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
        for _ in range(self.num_steps):
            jitter = torch.randn(chains.shape, generator=generator, device=chains.device, dtype=chains.dtype)
            spread = self.temperature * (2 * self.step_size) ** 0.5 * sigma
            drift = self.step_size * sigma.square() * density_score(network, chains, t.float())
            chains = chains + drift + spread * jitter
        self.buffer.put(slots, chains, t)
        # The data must be at the samples' timesteps for the energies to be comparable.
        beside = noisy_rows(self.process, images[: len(t)], t, rows.noise[: len(t)])
        logits = network(torch.cat([rows.x_t, beside, chains]), torch.cat([rows.t, t, t]).float())
        plain, real, sampled = logits.split([len(images), len(t), len(t)])
        return labelled_cross_entropy(plain, labels) + self.weight * contrast(real, sampled, self.magnitude)
