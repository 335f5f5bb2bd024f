"""The classes and noise seeds of episodes: training, held-out, or a user's list."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.diffusion.noise import MASK, philox
from guidegym.errors import GuideGymError
from guidegym.support.settings import shown, whole_number

HALVES = {"train": 2**62, "test": 2**62 + 2**61}
"""First noise seed of each split; each has 2**61 of them, above all from ``row_seeds`` for seeds below 2**30."""
EPISODES = 2
"""The stream of episodes, besides the noise streams ``INITIAL`` and ``REVERSE``."""


@dataclass(frozen=True)
class Split:
    """The source of episodes.

    Args:
        name: ``train`` or ``test``: classes and seeds drawn at random, from two disjoint sets of seeds. ``list`` for the
            pairs of ``labels`` and ``seeds``.
        labels: Classes of the list.
        seeds: Noise seeds of the list.
    """

    name: str
    labels: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()

    def draw(
        self, env_seed: Int[Tensor, " batch"], episode: Int[Tensor, " batch"], *, num_classes: int
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Return the class and the noise seed of each row's episode, a function of ``env_seed`` and ``episode`` alone.

        Args:
            env_seed: Seed that the row's environment was reset with, >= 0.
            episode: Number of episodes begun since then.
            num_classes: Number of classes.
        """
        if self.name == "list":
            entry = (env_seed + episode) % len(self.labels)
            return (
                torch.tensor(self.labels, device=env_seed.device)[entry],
                torch.tensor(self.seeds, device=env_seed.device)[entry],
            )
        zero = torch.zeros_like(env_seed)
        words = philox(
            (episode & MASK, (episode >> 32) & MASK, zero + EPISODES, zero), (env_seed & MASK, env_seed >> 32 & MASK)
        )
        seed = HALVES[self.name] + ((words[1] << 29) | (words[2] & (2**29 - 1)))
        return words[0] % num_classes, seed


def make_split(given: str | Mapping[str, Sequence[int]], *, num_classes: int) -> Split:
    """Return the split described by a name or by ``{"labels": [...], "seeds": [...]}``.

    Raises:
        GuideGymError: If the name is unknown, the lists differ in length or are empty, or a number is out of range.
    """
    if isinstance(given, str):
        if given not in HALVES:
            raise GuideGymError(
                f"`split` must be one of {', '.join(HALVES)}, or lists of labels and seeds, got {given!r}"
            )
        return Split(given)
    labels, seeds = _whole(given, "labels"), _whole(given, "seeds")
    if set(given) != {"labels", "seeds"} or not labels or len(labels) != len(seeds):
        raise GuideGymError("`split` must have non-empty `labels` and `seeds` of equal length")
    if not all(0 <= label < num_classes for label in labels) or not all(0 <= seed < 2**63 for seed in seeds):
        raise GuideGymError(f"`split` must have labels in 0..{num_classes - 1} and seeds in 0..2**63 - 1")
    return Split("list", labels, seeds)


def _whole(given: Mapping[str, Any], name: str) -> tuple[int, ...]:
    values = given.get(name, ())
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise GuideGymError(f"`split`: `{name}` must be a list of whole numbers, got {shown(values)}")
    return tuple(whole_number(f"split {name}", one) for one in values)
