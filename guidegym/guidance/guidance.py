"""The Guidance record: what is searched, saved and replayed."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from guidegym.codec import check_keys, from_object, to_object
from guidegym.diffusion import Process, Sampler, process_of
from guidegym.errors import FileFormatError, GuideGymError
from guidegym.guidance.base_models import UnconditionalDenoiser
from guidegym.guidance.carried import Carried, same_times
from guidegym.guidance.classifier_free import ClassifierFree
from guidegym.guidance.exports.to_diffusers import call_arguments, guider
from guidegym.guidance.exports.to_guided_diffusion import CondFn, cond_fn
from guidegym.guidance.found_for import FoundFor
from guidegym.guidance.guide import BaseModel, Networks
from guidegym.guidance.guides import Guide
from guidegym.guidance.policy import Policy, load_policy
from guidegym.guidance.schedules import Constant, Schedule
from guidegym.guidance.targets import OneHot, TargetDistribution
from guidegym.guidance.versioned import check_format, parse
from guidegym.support.files import write_atomically

NO_WEIGHT = Constant(0.0)
ONE_HOT = OneHot()
DENOISER = UnconditionalDenoiser()
FORMAT = "guidegym-guidance"
PARTS: tuple[tuple[str, type, bool], ...] = (
    ("guide", Guide, True),
    ("weight", Schedule, False),
    ("rate", Schedule, True),
    ("target", TargetDistribution, False),
    ("base_model", BaseModel, False),
    ("policy", Policy, True),
    ("found_for", FoundFor, True),
)
"""The type of each part, and whether it may be None."""
OPTIONAL = {"rate", "degree", "score", "policy", "found_for"}
"""Keys of the file that may be missing."""
VERSION = 1


@dataclass(frozen=True)
class Guidance:
    """A guide with schedules for its weight and its target's rate, or with a learned policy in their place.

    Compares by value; stored as one JSON file, with a safetensors file beside it if there is a policy.

    Args:
        guide: The gradient field; None samples without guidance, and the weight must then be 0.
        weight: The schedule of the weight.
        rate: The schedule of the rate at which the target moves to the wanted class, per unit of the chain; None fixes it.
        target: The initial target; one-hot is plain guidance.
        base_model: What guidance is added to: the model's denoiser, its label-conditional one, or a classifier's own score.
        policy: Decides weight and rate at each step from the row's features; both schedules must then be left out.
        found_for: The model and the process that it was found for, a note for those who read the file; None if unknown.
    """

    guide: Guide | None = None
    weight: Schedule = NO_WEIGHT
    rate: Schedule | None = None
    target: TargetDistribution = ONE_HOT
    base_model: BaseModel = DENOISER
    policy: Policy | None = None
    found_for: FoundFor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, kind, none in PARTS:
            value = getattr(self, name)
            fits = isinstance(value, kind) and not isinstance(value, type)
            if not fits and not (none and value is None):
                wanted = f"a {kind.__name__}{' or None' if none else ''}"
                raise GuideGymError(f"`{name}` must be {wanted}, got {value!r:.60}")
        if self.guide is None and self.rate is not None:
            raise GuideGymError("a `rate` moves the target of a `guide`, which is None")
        if self.guide is None and self.weight != NO_WEIGHT:
            raise GuideGymError("`weight` must be the constant 0 if there is no `guide`")
        if self.policy is not None and (self.guide is None or self.weight != NO_WEIGHT or self.rate is not None):
            raise GuideGymError("a `policy` needs a `guide`, and replaces `weight` and `rate`")

    def weights(self, sampler: Sampler, process: Process) -> Float[Tensor, " steps"]:
        """Return the weight at each step of a sampler, float64, noisy end first.

        Raises:
            GuideGymError: If a policy decides the weight, so that there is no fixed curve.
        """
        if self.policy is not None:
            raise GuideGymError("a policy's weights depend on the row; distill it to get a schedule")
        return self.weight(sampler.timesteps(process)[:-1], process)

    def rates(self, sampler: Sampler, process: Process) -> Float[Tensor, " steps"] | None:
        """Return the rate of the target at each step, float64, per unit of the chain; None if there is none.

        Raises:
            GuideGymError: If a rate is below 0: the target would not stay a distribution.
        """
        if self.rate is None:
            return None
        rates = self.rate(sampler.timesteps(process)[:-1], process)
        if bool((rates < 0).any()):
            raise GuideGymError(f"`rate` must be >= 0 along the whole chain, got {float(rates.min()):g}")
        return rates

    def found_on(self, networks: Networks) -> "Guidance":
        """Return the same guidance with a note of the model that it was found for."""
        return replace(self, found_for=FoundFor.of(networks))

    def carried_to(self, process: Process) -> "Guidance":
        """Return the guidance for models of another process: the same weights at the same noise levels; see ``Carried``.

        Raises:
            GuideGymError: If the process that it was found for is unknown, or a policy decides the weight.
        """
        found = None if self.found_for is None else self.found_for.process
        if found is None or self.found_for is None:
            raise GuideGymError("the guidance does not say which process it was found for")
        if same_times(found, process):
            return self
        if self.policy is not None:
            raise GuideGymError("a policy cannot be carried to another process; distill it to get a schedule")

        def carried(schedule: Schedule) -> Schedule:
            return schedule if isinstance(schedule, Constant | Carried) else Carried(schedule, found)

        return replace(
            self,
            weight=carried(self.weight),
            rate=None if self.rate is None else carried(self.rate),
            found_for=replace(self.found_for, process=process),
        )

    def to_diffusers_guider(self, scheduler: Any) -> Any:
        """Return a guider for modular pipelines of diffusers: ``pipeline.update_components(guider=...)``.

        Args:
            scheduler: The pipeline's scheduler, or the pipeline.

        Raises:
            GuideGymError: If this is not classifier-free guidance by a schedule, the scheduler is of an unsupported kind, or
                diffusers is missing or too old.
        """
        return guider(self._classifier_free(scheduler), scheduler)

    def to_diffusers_call(self, pipeline: Any, num_steps: int, **call: Any) -> dict[str, Any]:
        """Return the arguments with which a pipeline of diffusers replays this: ``pipeline(prompt, **arguments)``.

        They are a ``guidance_schedule`` where the pipeline takes one. Elsewhere they are the first scale and a callback that
        sets each further one at the end of the step before; a step of scale 1 costs as much as any other there.

        Args:
            pipeline: The pipeline.
            num_steps: Number of steps.
            call: Further arguments of the pipeline's call, such as ``height``, for two trials of two steps, which show whether
                it reads its scale at every step.

        Raises:
            GuideGymError: If this is not classifier-free guidance by a schedule of weights >= 0, or the pipeline keeps its
                scale to itself.
        """
        return call_arguments(self._classifier_free(pipeline), pipeline, num_steps, call)

    def to_guided_diffusion(self, networks: Networks) -> CondFn:
        """Return the ``cond_fn`` with which guided-diffusion's loops replay this, given the labels as ``y``.

        Args:
            networks: The model, whose process is that of the diffusion.

        Raises:
            GuideGymError: If the model lacks what the guide needs, or this is more than a guide with a schedule: a policy, a
                moving target, a guide with a memory or through the denoiser.
        """
        for name in ("policy", "rate"):
            if getattr(self, name) is not None:
                raise GuideGymError(f"a guidance with a {name} is more than a function of the noisy rows")
        return cond_fn(self.guide, self.weight, self.target, self.base_model, networks)

    def _classifier_free(self, scheduler: Any) -> Schedule:
        """Return the schedule of classifier-free guidance under a scheduler of diffusers."""
        if self.policy is not None or not (self.guide is None or isinstance(self.guide, ClassifierFree)):
            what = "a policy" if self.policy is not None else type(self.guide).__name__
            raise GuideGymError(f"only a schedule of ClassifierFree can guide a pipeline of diffusers, not {what}")
        if self.found_for is None or self.found_for.process is None:
            return self.weight
        found = process_of(getattr(scheduler, "scheduler", scheduler), dynamic=True)
        return self.carried_to(found.process).weight

    def to_json(self, *, policy_file: str = "policy.safetensors") -> str:
        """Return the file's content: one JSON object, keys in a fixed order, defaults left out.

        Args:
            policy_file: Name of the file beside it that holds the policy's tensors.
        """
        content: dict[str, Any] = {
            "format": f"{FORMAT}/{VERSION}",
            "guide": None if self.guide is None else to_object(self.guide, "guide"),
            "weight": to_object(self.weight, "schedule"),
        }
        if self.rate is not None:
            content["rate"] = to_object(self.rate, "schedule")
        if self.target != ONE_HOT:
            content["degree"] = to_object(self.target, "target")
        if self.base_model != DENOISER:
            content["score"] = to_object(self.base_model, "base_model")
        if self.policy is not None:
            content["policy"] = self.policy.describe(policy_file)
        if self.found_for is not None:
            content["found_for"] = self.found_for.to_object()
        return json.dumps(content, indent=2) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the file atomically, after the policy's tensors (same name, suffix ``.safetensors``) if there are any."""
        path = Path(path)
        tensors = path.with_suffix(".safetensors")
        if self.policy is not None:
            write_atomically(tensors, self.policy.content())
        write_atomically(path, self.to_json(policy_file=tensors.name).encode())

    @classmethod
    def from_json(cls, text: str, *, source: str = "guidance", folder: Path = Path()) -> "Guidance":
        """Parse a file's content.

        Args:
            text: The JSON text.
            source: Name of the source in error messages.
            folder: Folder of the policy's tensors.

        Raises:
            FileFormatError: If it is not JSON, has another format or a later version, lacks a key or has an extra
                one, names an unknown kind, or contains a value of the wrong type or a non-finite one.
        """
        content = parse(text, source)
        check_format(content, source, FORMAT, VERSION)
        check_keys(content, {"format", "guide", "weight"}, source, optional=OPTIONAL)
        guide, rate, policy, found = (content.get(key) for key in ("guide", "rate", "policy", "found_for"))
        try:
            return cls(
                guide=None if guide is None else from_object(guide, "guide", f"{source}: guide"),
                weight=from_object(content["weight"], "schedule", f"{source}: weight"),
                rate=None if rate is None else from_object(rate, "schedule", f"{source}: rate"),
                target=_part(content, "degree", "target", source, ONE_HOT),
                base_model=_part(content, "score", "base_model", source, DENOISER),
                policy=None if policy is None else load_policy(policy, folder, f"{source}: policy"),
                found_for=None if found is None else FoundFor.from_object(found, f"{source}: found_for"),
            )
        except FileFormatError:
            raise
        except GuideGymError as error:
            raise FileFormatError(f"{source}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Guidance":
        """Read a file.

        Raises:
            FileFormatError: If the file cannot be read or is not a guidance file; see ``from_json``.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise FileFormatError(f"{path} cannot be read: {reason}") from error
        return cls.from_json(text, source=str(path), folder=Path(path).parent)


def _part(content: dict[str, Any], key: str, kind: str, source: str, default: Any) -> Any:
    return from_object(content[key], kind, f"{source}: {key}") if key in content else default
