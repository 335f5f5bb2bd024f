"""The functional core: one batch of trajectories, one reverse step at a time."""

import functools
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from guidegym.diffusion import INITIAL, REVERSE, Sampler, rows_like, trajectory_noise
from guidegym.errors import GuideGymError
from guidegym.guidance import Guide
from guidegym.testbeds import Testbed


@dataclass(frozen=True)
class Cost:
    """Network evaluations, counted in rows: an evaluation of a batch of 8 counts 8.

    Args:
        denoiser: Forward evaluations of the denoiser.
        guide_forward: Forward evaluations of guide classifiers.
        guide_backward: Backward evaluations of guide classifiers.
    """

    denoiser: int = 0
    guide_forward: int = 0
    guide_backward: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.denoiser + other.denoiser,
            self.guide_forward + other.guide_forward,
            self.guide_backward + other.guide_backward,
        )

    @property
    def total(self) -> int:
        """All evaluations, forward and backward alike."""
        return self.denoiser + self.guide_forward + self.guide_backward


@dataclass(frozen=True, eq=False)
class State:
    """One batch of trajectories; rows may stand at different steps.

    Args:
        x: The samples, noisy until their chain ends.
        x_0: Latest estimate of the clean samples; zero before the first step.
        step: Steps each row has taken, in 0 .. num_steps.
        label: Wanted class of each row.
        degree: Target distribution over classes of each row; one-hot is plain guidance.
        seed: Noise seed of each row.
        failed: Rows that became non-finite; they stay at their last finite sample.
        cost: Network evaluations so far.
    """

    x: Float[Tensor, " batch *event"]
    x_0: Float[Tensor, " batch *event"]
    step: Int[Tensor, " batch"]
    label: Int[Tensor, " batch"]
    degree: Float[Tensor, " batch classes"]
    seed: Int[Tensor, " batch"]
    failed: Bool[Tensor, " batch"]
    cost: Cost


@dataclass(frozen=True, eq=False)
class Engine:
    """A testbed, a sampler and a guide, ready to advance batches of trajectories.

    Each step costs one denoiser call, and one guide call where there is guidance, whatever the number of rows.

    Args:
        testbed: What is guided.
        sampler: The rule of one reverse step.
        guide: The gradient field; None for no guidance.

    Raises:
        GuideGymError: If the testbed lacks the guide's classifier, or the sampler has more steps than the process.
    """

    testbed: Testbed
    sampler: Sampler
    guide: Guide | None = None

    def __post_init__(self) -> None:
        if self.guide is not None:
            self.testbed.classifier(self.guide.classifier)
        self.sampler.timesteps(self.testbed.process)

    @functools.cached_property
    def timesteps(self) -> Int[Tensor, " steps_and_end"]:
        """The sampler's timesteps on the testbed's device, closed by -1."""
        return self.sampler.timesteps(self.testbed.process).to(self.testbed.device)

    def start(self, labels: Int[Tensor, " batch"], seeds: Int[Tensor, " batch"]) -> State:
        """Return a batch at the noisy end of the chain.

        Args:
            labels: Wanted class of each row, in 0 .. K - 1.
            seeds: Noise seed of each row, in 0 .. 2**63 - 1.

        Raises:
            GuideGymError: If the two differ in length, or a label or a seed is out of range.
        """
        testbed = self.testbed
        if len(labels) != len(seeds) or len(labels) == 0:
            raise GuideGymError(f"`labels` and `seeds` must be as long, and not empty, got {len(labels)}, {len(seeds)}")
        if int(labels.min()) < 0 or int(labels.max()) >= testbed.num_classes:
            wrong = next(int(label) for label in labels if not 0 <= int(label) < testbed.num_classes)
            raise GuideGymError(f"`labels` must be in 0..{testbed.num_classes - 1}, got {wrong}")
        if int(seeds.min()) < 0:
            raise GuideGymError(f"`seeds` must be >= 0, got {int(seeds.min())}")
        labels, seeds = labels.to(testbed.device), seeds.to(testbed.device)
        zero = torch.zeros_like(labels)
        noise = trajectory_noise(seeds, zero, testbed.event_shape, stream=INITIAL, dtype=testbed.dtype)
        return State(
            x=noise,
            x_0=torch.zeros_like(noise),
            step=zero,
            label=labels,
            degree=functional.one_hot(labels, testbed.num_classes).to(testbed.dtype),
            seed=seeds,
            failed=torch.zeros_like(labels, dtype=torch.bool),
            cost=Cost(),
        )

    @torch.no_grad()
    def step(
        self, state: State, weight: Float[Tensor, " batch"] | None, guided: Int[Tensor, " guided"] | None = None
    ) -> State:
        """Advance every row by one reverse step; rows at the end of their chain, and failed ones, stay as they are.

        Args:
            state: The batch.
            weight: Guidance weight of each row; None asks no guide at all, which costs nothing.
            guided: Rows that the guide is asked for, where the others are known to have weight 0; None for all.

        Raises:
            GuideGymError: If a weight is given and the engine has no guide.
        """
        testbed, batch = self.testbed, len(state.x)
        active = (state.step < self.sampler.num_steps) & ~state.failed
        index = state.step.clamp(max=self.sampler.num_steps - 1)
        t, t_prev = self.timesteps[index], self.timesteps[index + 1]
        eps = testbed.denoiser(state.x, t.to(state.x.dtype))
        cost = state.cost + Cost(denoiser=batch)
        shift = None
        if weight is not None:
            if self.guide is None:
                raise GuideGymError("`weight` must be None for an engine without a guide")
            classify = testbed.classifier(self.guide.classifier)
            if guided is None:
                gradient = self.guide.gradient(classify, state.x, t, state.degree).gradient
            else:
                asked = self.guide.gradient(classify, state.x[guided], t[guided], state.degree[guided])
                gradient = torch.zeros_like(state.x).index_copy_(0, guided, asked.gradient)
            # A zero weight is no guidance, also where the gradient is not finite.
            shift = torch.where(rows_like(weight, gradient) == 0, 0.0, rows_like(weight, gradient) * gradient)
            num_asked = batch if guided is None else len(guided)
            cost = cost + Cost(guide_forward=num_asked, guide_backward=num_asked)
        noise = None
        if self.sampler.is_stochastic:
            noise = trajectory_noise(state.seed, state.step, testbed.event_shape, stream=REVERSE, dtype=testbed.dtype)
        reverse = self.sampler.step(
            state.x, eps, shift, t=t, t_prev=t_prev, process=testbed.process, noise=noise, clip=testbed.clip
        )
        finite = reverse.x_prev.flatten(1).isfinite().all(dim=1)
        moves = active & finite
        return replace(
            state,
            x=torch.where(rows_like(moves, state.x), reverse.x_prev, state.x),
            x_0=torch.where(rows_like(moves, state.x), reverse.x_0, state.x_0),
            step=state.step + moves.long(),
            failed=state.failed | (active & ~finite),
            cost=cost,
        )
