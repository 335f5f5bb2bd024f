"""Plain sampling: many rows from noise to samples, under one guidance or one weight curve per row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from guidegym.core.engine import Engine
from guidegym.core.observation import FEATURES, observe
from guidegym.core.state import State, join
from guidegym.diffusion import Sampler
from guidegym.errors import GuideGymError
from guidegym.guidance import ONE_HOT, Cost, Guidance, Policy, TargetDistribution
from guidegym.models import Model
from guidegym.support.settings import check_count, check_seed, whole_number

SEEDS_PER_RUN = 2**32
BATCH_SIZE = 256
"""Rows that advance together by default: large enough to fill two cores or one GPU, small enough for a laptop."""

OnRows = Callable[[int], None]
"""Called after each step with the number of rows that took it."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Finished samples and how they were generated.

    Args:
        x: The samples, in the model's data range.
        labels: Wanted class of each row.
        seeds: Noise seed of each row: sampling a row's seed and label again gives the same sample.
        failed: Rows that became non-finite.
        evaluations: Network evaluations of each row, in the order of ``Cost``.
    """

    x: Float[Tensor, " batch *event"]
    labels: Int[Tensor, " batch"]
    seeds: Int[Tensor, " batch"]
    failed: Bool[Tensor, " batch"]
    evaluations: Int[Tensor, " batch 4"]

    @property
    def cost(self) -> Cost:
        """Network evaluations of all rows."""
        return Cost(*self.evaluations.sum(dim=0).tolist())


def row_seeds(seed: int, num: int, *, first: int = 0) -> Int[Tensor, " num"]:
    r"""Return ``num`` trajectory seeds, :math:`2^{32} \text{seed} + \text{first} + i`: runs with different seeds share no row.

    Raises:
        GuideGymError: If an argument is out of range.
    """
    seed, num, first = check_seed(seed), whole_number("num", num), whole_number("first", first)
    if num < 1 or first < 0 or first + num > SEEDS_PER_RUN:
        raise GuideGymError(f"`num` must be >= 1 and `first` + `num` in 1..{SEEDS_PER_RUN}, got {first} + {num}")
    return seed * SEEDS_PER_RUN + first + torch.arange(num)


def rollout(
    engine: Engine,
    labels: Int[Tensor, " batch"],
    seeds: Int[Tensor, " batch"],
    weights: Float[Tensor, " batch steps"],
    *,
    rates: Float[Tensor, " batch steps"] | None = None,
    target: TargetDistribution | Float[Tensor, " batch classes"] = ONE_HOT,
    batch_size: int = BATCH_SIZE,
    on_rows: OnRows | None = None,
) -> Samples:
    """Sample rows that each follow their own weight curve.

    The guide is not evaluated on rows at steps where their weight is zero.

    Args:
        engine: Model, sampler and guide.
        labels: Wanted class of each row.
        seeds: Noise seed of each row.
        weights: Weight of each row at each step, on the CPU; all zero for an engine without a guide.
        rates: Rate of each row's target at each step, on the CPU; None leaves the targets unchanged.
        target: The target that the rows start with, or that of each row.
        batch_size: Rows that advance together, >= 1; it changes the samples by rounding only.
        on_rows: Called after each step with the number of rows that took it.

    Raises:
        GuideGymError: If the arguments are inconsistent with each other or the engine.
    """
    batch_size = check_count("batch_size", batch_size, least=1)
    if weights.shape != (len(labels), engine.sampler.num_steps):
        wanted = (len(labels), engine.sampler.num_steps)
        raise GuideGymError(f"`weights` must have shape {wanted}, got {tuple(weights.shape)}")
    finished = []
    for rows in torch.arange(len(labels)).split(batch_size):
        start = target[rows] if isinstance(target, Tensor) else target
        state = engine.start(labels[rows], seeds[rows], target=start)
        curves = weights[rows]
        columns = curves.to(device=engine.model.device, dtype=engine.model.dtype).unbind(dim=1)
        for number, (column, weighted) in enumerate(zip(columns, (curves != 0).unbind(dim=1), strict=True)):
            # Decided on the CPU, where the curves are, to avoid waiting for the device.
            some = bool(weighted.any())
            guided = None if bool(weighted.all()) else weighted.nonzero()[:, 0].to(engine.model.device)
            rate = None if rates is None else rates[rows, number].to(column)
            state = engine.step(state, column if some else None, guided, rate=rate)
            if on_rows is not None:
                on_rows(len(rows))
        finished.append(state)
    return samples_of(join(finished))


def samples_of(state: State) -> Samples:
    """Return the samples of a finished batch."""
    return Samples(x=state.x, labels=state.label, seeds=state.seed, failed=state.failed, evaluations=state.evaluations)


def policy_rollout(
    engine: Engine,
    policy: Policy,
    labels: Int[Tensor, " batch"],
    seeds: Int[Tensor, " batch"],
    *,
    target: TargetDistribution = ONE_HOT,
    batch_size: int = BATCH_SIZE,
    on_rows: OnRows | None = None,
) -> tuple[State, Float[Tensor, " steps batch size"]]:
    """Sample rows under a policy that decides the weight, and the rate if there is one, at each step.

    Args:
        engine: Model, sampler and guide.
        policy: The policy.
        labels: Wanted class of each row.
        seeds: Noise seed of each row.
        target: The initial target of the rows.
        batch_size: Rows that advance together.
        on_rows: Called after each step with the number of rows that took it.

    Returns:
        The finished batch, and the actions that were taken.

    Raises:
        GuideGymError: If the policy was trained on other features.
    """
    if policy.environment != "guidance":
        raise GuideGymError(
            f"the policy acts in environment '{policy.environment}', not by weight and rate: replay it there"
        )
    if policy.features != FEATURES:
        raise GuideGymError(
            f"the policy was trained on {', '.join(policy.features)}; available here: {', '.join(FEATURES)}"
        )
    batch_size = check_count("batch_size", batch_size, least=1)
    finished, taken = [], []
    for rows in torch.arange(len(labels)).split(batch_size):
        state, actions = engine.start(labels[rows], seeds[rows], target=target), []
        for _ in range(engine.sampler.num_steps):
            prediction = engine.predict(state, clean=True)
            actions.append(policy(observe(engine, state, prediction)))
            state = engine.advance(state, prediction, *policy.scale.physical(actions[-1].to(state.x.dtype)))
            if on_rows is not None:
                on_rows(len(rows))
        finished.append(state)
        taken.append(torch.stack(actions))
    return join(finished), torch.cat(taken, dim=1)


def _whole_numbers(name: str, given: Sequence[int] | Tensor) -> Int[Tensor, " batch"]:
    """Return whole numbers, one per row, as a tensor; fractions are rejected, not truncated."""
    try:
        values = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GuideGymError(f"`{name}` must be whole numbers, got {given!r:.60}") from error
    whole = not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)
    if values.ndim != 1 or not (whole or values.numel() == 0):
        raise GuideGymError(f"`{name}` must be whole numbers, one per row, got {given!r:.60}")
    return values.long()


def sample(
    model: Model,
    guidance: Guidance | None = None,
    *,
    labels: Sequence[int] | Int[Tensor, " batch"],
    seed: int = 0,
    seeds: Sequence[int] | Int[Tensor, " batch"] | None = None,
    sampler: Sampler | None = None,
    batch_size: int = BATCH_SIZE,
    on_rows: OnRows | None = None,
) -> Samples:
    """Sample one row per label under one guidance.

    Args:
        model: The model to guide.
        guidance: The guidance; None samples without guidance.
        labels: Wanted class of each row.
        seed: Seed of the run, in 0 .. 2**31 - 1; row ``i`` has seed ``row_seeds(seed, n)[i]``.
        seeds: Seeds of the individual rows, in place of ``seed``.
        sampler: The diffusion sampler; ``model.sampler(50)`` by default.
        batch_size: Rows that advance together.
        on_rows: Called after each step with the number of rows that took it.

    Raises:
        GuideGymError: If an argument is out of range, or the guidance needs a classifier that the model lacks.
    """
    guidance = guidance if guidance is not None else Guidance()
    sampler = sampler if sampler is not None else model.sampler(50)
    row_labels = _whole_numbers("labels", labels)
    if len(row_labels) == 0 or (seeds is not None and len(seeds) != len(row_labels)):
        raise GuideGymError(
            f"`labels` and `seeds` must have equal lengths >= 1, got {len(row_labels)}, "
            f"{'none' if seeds is None else len(seeds)}"
        )
    rows = row_seeds(seed, len(row_labels)) if seeds is None else _whole_numbers("seeds", seeds)
    engine = Engine.under(model, sampler, guidance)
    if guidance.policy is not None:
        finished, _ = policy_rollout(
            engine,
            guidance.policy,
            row_labels,
            rows,
            target=guidance.target,
            batch_size=batch_size,
            on_rows=on_rows,
        )
        return samples_of(finished)
    weights, rates = guidance.weights(sampler, model.process), guidance.rates(sampler, model.process)
    return rollout(
        engine,
        row_labels,
        rows,
        weights.expand(len(row_labels), -1),
        rates=None if rates is None else rates.expand(len(row_labels), -1),
        target=guidance.target,
        batch_size=batch_size,
        on_rows=on_rows,
    )
