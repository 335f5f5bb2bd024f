"""The replay buffer of energy-based training: chains that continue where an earlier step left them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import rows_like
from guidegym.errors import GuideGymError


class ReplayBuffer(nn.Module):
    """The samples that Langevin chains start from and are returned to; stored in checkpoints.

    Args:
        event_shape: Shape of one sample.
        size: Number of samples.
        restart: Share of the chains that start from fresh noise, in [0, 1].
        gaussian: Whether fresh noise is standard normal; otherwise it is uniform in [-1, 1].
        seed: Seed of the first filling.

    Source:
        Du and Mordatch 2019; Grathwohl et al. 2020.
    """

    samples: Tensor
    tags: Tensor

    def __init__(
        self, event_shape: tuple[int, ...], *, size: int, restart: float, gaussian: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        if size < 1:
            raise GuideGymError(f"`size` must be >= 1, got {size}")
        if not 0 <= restart <= 1:
            raise GuideGymError(f"`restart` must be in 0..1, got {restart}")
        self.restart, self.gaussian = restart, gaussian
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("samples", self._fresh((size, *event_shape), generator))
        self.register_buffer("tags", torch.full((size,), -1, dtype=torch.long))

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return fresh noise on the generator's device."""
        if self.gaussian:
            return torch.randn(shape, generator=generator, device=generator.device)
        return 2 * torch.rand(shape, generator=generator, device=generator.device) - 1

    def draw(
        self, tags: Int[Tensor, " batch"], generator: torch.Generator
    ) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch *event"], Int[Tensor, " batch"]]:
        """Return slots, the current samples of their chains, and their tags (class or timestep).

        A slot that restarts, or was never used, takes its tag from ``tags``.
        """
        slots = torch.randperm(len(self.samples), generator=generator, device=generator.device)[: len(tags)]
        fresh = torch.rand(len(slots), generator=generator, device=generator.device) < self.restart
        noise = self._fresh((len(slots), *self.samples.shape[1:]), generator)
        anew = fresh | (self.tags[slots] < 0)
        chains = torch.where(rows_like(anew, noise), noise, self.samples[slots])
        return slots, chains, torch.where(anew, tags[: len(slots)], self.tags[slots])

    def put(
        self, slots: Int[Tensor, " batch"], chains: Float[Tensor, " batch *event"], tags: Int[Tensor, " batch"]
    ) -> None:
        """Return chains to their slots."""
        self.samples[slots] = chains.detach()
        self.tags[slots] = tags
