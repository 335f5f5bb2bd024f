"""Per-trajectory noise: every number is a function of (seed, step) alone, so rows are independent of their batch.

The generator is counter-based (Philox): it has no state to share, order or save. All rows are drawn at once.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

INITIAL = 0
"""Stream of the starting noise."""
REVERSE = 1
"""Stream of the noise that a stochastic sampler adds at each step."""


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Philox4x32-10 of 32-bit words in int64 tensors, which broadcast against each other.

    Source:
        Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    c0, c1, c2, c3 = torch.broadcast_tensors(*counter, key[0])[:4]
    k0, k1 = key
    for _ in range(ROUNDS):
        # Products of two 32-bit words wrap around in int64, but keep all 64 bits. As few passes over memory as possible: the
        # mask that undoes the shift's sign extension also takes off the upper half of the other product's low word.
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = (p1 >> 32).bitwise_xor_(c1).bitwise_xor_(k0).bitwise_and_(MASK)
        c2 = (p0 >> 32).bitwise_xor_(c3).bitwise_xor_(k1).bitwise_and_(MASK)
        c1, c3 = p1, p0
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1 & MASK, c2, c3 & MASK


def trajectory_noise(
    seeds: Int[Tensor, " batch"],
    steps: Int[Tensor, " batch"],
    event_shape: Sequence[int],
    *,
    stream: int,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, " batch *event"]:
    """Return standard normal noise, one row per trajectory, on the device of ``seeds``.

    Args:
        seeds: Seed of each trajectory, in 0 .. 2**63 - 1.
        steps: Step of each trajectory, >= 0; rows may be at different steps.
        event_shape: Shape of one trajectory's sample.
        stream: ``INITIAL`` or ``REVERSE``; streams are independent.
        dtype: Floating type of the result; the numbers are drawn in float64 and rounded once.
    """
    size = math.prod(event_shape)
    blocks = torch.arange((size + 3) // 4, device=seeds.device)[None, :]
    zero = torch.zeros_like(blocks)
    key = ((seeds & MASK)[:, None], ((seeds >> 32) & MASK)[:, None])
    words = philox((blocks, steps[:, None], zero + stream, zero), key)
    # Half a unit keeps the uniforms away from 0 and 1, so the logarithm is finite.
    uniform = torch.cat([words[0], words[2], words[1], words[3]], dim=1).double().add_(0.5).mul_(2**-32)
    first, second = uniform.chunk(2, dim=1)
    radii, angles = first.log_().mul_(-2).sqrt_(), second.mul_(2 * math.pi)
    normals = torch.cat([radii * angles.cos(), radii * angles.sin()], dim=1)
    return normals[:, :size].reshape(len(seeds), *event_shape).to(dtype)
