"""The Guidance record: what is searched, saved and replayed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from guidegym.codec import check_keys, from_object, to_object
from guidegym.diffusion import Process, Sampler
from guidegym.errors import FileFormatError, GuideGymError
from guidegym.guidance.base_models import UnconditionalDenoiser
from guidegym.guidance.guide import BaseModel
from guidegym.guidance.guides import Guide
from guidegym.guidance.policy import Policy, load_policy
from guidegym.guidance.schedules import Constant, Schedule
from guidegym.guidance.targets import OneHot, TargetDistribution
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
)
"""The type of each part, and whether it may be None."""
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
    """

    guide: Guide | None = None
    weight: Schedule = NO_WEIGHT
    rate: Schedule | None = None
    target: TargetDistribution = ONE_HOT
    base_model: BaseModel = DENOISER
    policy: Policy | None = None

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
        content = _parse(text, source)
        _check_format(content, source)
        check_keys(content, {"format", "guide", "weight"}, source, optional={"rate", "degree", "score", "policy"})
        guide, rate, policy = (content.get(key) for key in ("guide", "rate", "policy"))
        try:
            return cls(
                guide=None if guide is None else from_object(guide, "guide", f"{source}: guide"),
                weight=from_object(content["weight"], "schedule", f"{source}: weight"),
                rate=None if rate is None else from_object(rate, "schedule", f"{source}: rate"),
                target=_part(content, "degree", "target", source, ONE_HOT),
                base_model=_part(content, "score", "base_model", source, DENOISER),
                policy=None if policy is None else load_policy(policy, folder, f"{source}: policy"),
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


def _parse(text: str, source: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise FileFormatError(f"{source}: numbers must be finite, got {constant}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise FileFormatError(f"{source}: a key is repeated in one object with the keys {', '.join(names)}")
        return dict(pairs)

    try:
        content = json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"{source} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except FileFormatError:
        raise
    except (RecursionError, ValueError) as error:  # a number of thousands of digits is a ValueError
        raise FileFormatError(f"{source} is nested too deeply or contains too long a number") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{source} must contain one JSON object, got {type(content).__name__}")
    return content


def _check_format(content: dict[str, Any], source: str) -> None:
    given = content.get("format")
    name, _, version = given.partition("/") if isinstance(given, str) else ("", "", "")
    if name != FORMAT or not (version.isascii() and version.isdecimal()):
        raise FileFormatError(f"{source}: `format` must be '{FORMAT}/{VERSION}', got {given!r}")
    if int(version[:9]) > VERSION:
        raise FileFormatError(
            f"{source} was written by a later version of guidegym: format {given!r}; this one reads '{FORMAT}/{VERSION}'"
        )
    if int(version) != VERSION:
        raise FileFormatError(f"{source}: `format` must be '{FORMAT}/{VERSION}', got {given!r}")
