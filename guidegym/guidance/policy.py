"""A learned policy: a small network from features to the action of a step, stored as tensors only."""

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.support.settings import plain_fields, shown
from guidegym.support.tensor_files import read_tensors

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
SQUASHES = ("clip", "tanh")


@dataclass(frozen=True)
class ActionScale:
    """The physical range of an action in [-1, 1].

    Args:
        max_weight: Guidance weight of action 1; action -1 is weight 0.
        max_rate: Rate of the target, per unit of the chain, of a second action of 1; None if there is no second action.
    """

    max_weight: float
    max_rate: float | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, value in (("max_weight", self.max_weight), ("max_rate", self.max_rate)):
            if value is not None and not 0 < value < float("inf"):
                raise GuideGymError(f"`{name}` must be > 0 and finite, got {value}")

    @property
    def size(self) -> int:
        """Number of actions per row."""
        return 1 if self.max_rate is None else 2

    def physical(self, action: Float[Tensor, " batch size"]) -> tuple[Tensor, Tensor | None]:
        """Return the weight and the rate (None if there is none) of actions, which are clipped to [-1, 1]."""
        unit = (action.clamp(-1, 1) + 1) / 2
        return unit[:, 0] * self.max_weight, None if self.max_rate is None else unit[:, 1] * self.max_rate


@dataclass(frozen=True, eq=False)
class Policy:
    r"""A deterministic multi-layer perceptron from features to an action.

    .. math:: a = q(W_n h(\dots h(W_1 (o - m) / s + b_1)) + b_n)

    Compares by value.

    Args:
        weights: Matrices ``(out, in)`` of the layers.
        biases: Biases of the layers.
        shift: Mean ``m`` subtracted from the features.
        spread: Standard deviation ``s`` that the features are divided by, > 0.
        features: Names of the features, in order.
        scale: Physical range of the action.
        activation: ``tanh`` or ``relu``, the function ``h``.
        squash: How the output is mapped into [-1, 1], the function ``q``: ``clip`` or ``tanh``.
        environment: The environment that it acts in; in any other than ``guidance`` the number and meaning of the actions may
            differ, and plain sampling does not replay them.

    Raises:
        GuideGymError: If the shapes are inconsistent, or a number is not finite.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    shift: Float[Tensor, " features"]
    spread: Float[Tensor, " features"]
    features: tuple[str, ...]
    scale: ActionScale
    activation: str = "tanh"
    squash: str = "clip"
    environment: str = "guidance"
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS or self.squash not in SQUASHES:
            raise GuideGymError(
                f"`activation` must be one of {', '.join(ACTIVATIONS)} and `squash` one of {', '.join(SQUASHES)}, got "
                f"{self.activation!r}, {self.squash!r}"
            )
        sizes = [len(self.features), *(len(bias) for bias in self.biases)]
        shapes = [(after, before) for before, after in itertools.pairwise(sizes)]
        if (
            not shapes
            or [tuple(weight.shape) for weight in self.weights] != shapes
            or (self.environment == "guidance" and sizes[-1] != self.scale.size)
            or len(self.shift) != sizes[0]
            or len(self.spread) != sizes[0]
        ):
            raise GuideGymError(
                "`weights` and `biases` must be layers consistent with each other, the features and the action"
            )
        if not all(bool(tensor.isfinite().all()) for tensor in self.tensors().values()) or not bool(
            (self.spread > 0).all()
        ):
            raise GuideGymError("the numbers of a policy must be finite, and `spread` > 0")
        own = () if self.environment == "guidance" else (self.environment,)
        digest = hashlib.sha256(repr((self.features, self.scale, self.activation, self.squash, *own)).encode())
        for tensor in self.tensors().values():
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        object.__setattr__(self, "digest", digest.hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def of_layers(cls, modules: Iterable[torch.nn.Module], **others: Any) -> "Policy":
        """Return a policy from a network's linear layers, in order, copied to the CPU; ``others`` are its other arguments."""
        layers = [module for module in modules if isinstance(module, torch.nn.Linear)]
        return cls(
            weights=tuple(layer.weight.detach().cpu().clone() for layer in layers),
            biases=tuple(layer.bias.detach().cpu().clone() for layer in layers),
            **others,
        )

    @classmethod
    def from_sb3(cls, model: Any) -> "Policy":
        """Return the deterministic policy of a Stable-Baselines3 model that was trained in an environment of this package.

        Supports PPO and similar algorithms, SAC, TD3 and ARS, with ``Tanh`` or ``ReLU`` layers. The moments of a
        ``VecNormalize`` around the environment are included; its ``clip_obs`` is not.

        Args:
            model: The model with its environment, whose observation must be ``features``.

        Raises:
            GuideGymError: If the model has no actor of that form, or another kind of environment.
        """
        modules, squash = _sb3_actor(model)
        env = model.get_env()
        try:
            task = env.get_attr("episodes")[0].task
        except AttributeError as error:
            raise GuideGymError("`model` must have a guidance environment, made by gym.make or SB3VecEnv") from error
        task.check_features()
        normalised = model.get_vec_normalize_env()
        names, zeros = task.feature_names, torch.zeros(len(task.feature_names))
        moments = None if normalised is None or not normalised.norm_obs else normalised.obs_rms
        return cls.of_layers(
            modules,
            shift=zeros if moments is None else torch.as_tensor(moments.mean, dtype=torch.float32),
            spread=zeros + 1
            if moments is None
            else (torch.as_tensor(moments.var, dtype=torch.float32) + normalised.epsilon).sqrt(),
            features=names,
            scale=task.scale,
            activation="relu" if any(isinstance(module, torch.nn.ReLU) for module in modules) else "tanh",
            squash=squash,
            environment=task.name,
        )

    def __call__(self, features: Float[Tensor, " batch features"]) -> Float[Tensor, " batch size"]:
        """Return the action of each row, in [-1, 1]."""
        device, activate = features.device, ACTIVATIONS[self.activation]
        hidden = (features.float() - self.shift.to(device)) / self.spread.to(device)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.nn.functional.linear(
                hidden if number == 0 else activate(hidden), weight.to(device), bias.to(device)
            )
        return hidden.clamp(-1, 1) if self.squash == "clip" else hidden.tanh()

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, as stored in a file."""
        layers = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        layers |= {f"bias_{i}": bias for i, bias in enumerate(self.biases)}
        return {**layers, "shift": self.shift, "spread": self.spread}

    def content(self) -> bytes:
        """Return the content of the tensors' safetensors file."""
        return save({name: tensor.detach().float().cpu().contiguous() for name, tensor in self.tensors().items()})

    def describe(self, file: str) -> dict[str, Any]:
        """Return the JSON object that goes with ``content`` written to ``file``."""
        own = {} if self.environment == "guidance" else {"environment": self.environment}
        return {
            "kind": "perceptron",
            "file": file,
            "digest": self.digest,
            "features": list(self.features),
            "layers": len(self.weights),
            "activation": self.activation,
            "squash": self.squash,
            "max_weight": self.scale.max_weight,
            "max_rate": self.scale.max_rate,
            **own,
        }


def _sb3_actor(model: Any) -> tuple[list[torch.nn.Module], str]:
    """Return a model's modules from the features to the action's mean, and how their output is mapped into [-1, 1].

    Raises:
        GuideGymError: If it has no such modules, or unsupported activations.
    """
    policy, actor = model.policy, getattr(model.policy, "actor", None)
    if actor is not None and hasattr(actor, "latent_pi"):
        modules, squash = [*actor.latent_pi, actor.mu], "tanh"
    elif actor is not None:
        modules, squash = list(actor.mu), "tanh"
    elif hasattr(policy, "mlp_extractor"):
        modules, squash = [*policy.mlp_extractor.policy_net, policy.action_net], "clip"
    elif isinstance(getattr(policy, "action_net", None), torch.nn.Sequential):
        modules, squash = list(policy.action_net), "clip"
    else:
        raise GuideGymError(f"`model` must have an actor of linear layers, got {type(model).__name__}")
    kinds = {type(module) for module in modules} - {torch.nn.Linear}
    if not kinds <= {torch.nn.Tanh, torch.nn.ReLU} or (
        torch.nn.ReLU in kinds and torch.nn.Tanh in kinds and actor is None
    ):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise GuideGymError(f"`model` must have Tanh or ReLU layers, got {names}")
    return modules, squash


KEYS = {"kind", "file", "digest", "features", "layers", "activation", "squash", "max_weight", "max_rate"}


def load_policy(content: Any, folder: Path, source: str) -> Policy:
    """Return the policy described by a JSON object, with its tensors read from the file beside it.

    Raises:
        FileFormatError: If the object was not written by ``Policy.describe``, or the file is missing, damaged or does not
            belong to it.
    """
    if not isinstance(content, dict) or set(content) - {"environment"} != KEYS or content["kind"] != "perceptron":
        raise FileFormatError(
            f"{source} must be an object of kind 'perceptron' with the keys {', '.join(sorted(KEYS))}"
        )
    name, layers, features = content["file"], content["layers"], content["features"]
    if not isinstance(name, str) or Path(name).name != name:
        raise FileFormatError(f"{source}: `file` must be the name of a file in the same folder, got {name!r}")
    if isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= 64:
        raise FileFormatError(f"{source}: `layers` must be in 1..64, got {shown(layers)}")
    if not isinstance(features, list) or not all(isinstance(one, str) for one in features):
        raise FileFormatError(f"{source}: `features` must be a list of names, got {features!r}")
    scale = [content["max_weight"], content["max_rate"]]
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in scale if one is not None):
        raise FileFormatError(f"{source}: `max_weight` and `max_rate` must be numbers, got {scale}")
    path = folder / name
    try:
        _, tensors = read_tensors(path)
    except FileFormatError as error:
        raise FileFormatError(f"{source}: {error}") from error
    wanted = {*(f"{part}_{i}" for part in ("weight", "bias") for i in range(layers)), "shift", "spread"}
    if set(tensors) != wanted:
        raise FileFormatError(f"{path} must contain the tensors {', '.join(sorted(wanted))}")
    try:
        policy = Policy(
            weights=tuple(tensors[f"weight_{i}"] for i in range(layers)),
            biases=tuple(tensors[f"bias_{i}"] for i in range(layers)),
            shift=tensors["shift"],
            spread=tensors["spread"],
            features=tuple(features),
            scale=ActionScale(scale[0], scale[1]),
            activation=content["activation"],
            squash=content["squash"],
            environment=content.get("environment", "guidance"),
        )
    except (GuideGymError, TypeError) as error:
        raise FileFormatError(f"{source}: {error}") from error
    if policy.digest != content["digest"]:
        raise FileFormatError(f"{path} is not the file that was written with {source}")
    return policy
