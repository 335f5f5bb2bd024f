"""Classifiers of images from other libraries, such as torchvision and timm, as guides and judges."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from guidegym.errors import GuideGymError
from guidegym.models.checked import own_dtype, warn_of_probabilities
from guidegym.support.settings import finite_number, shown, whole_number

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The normalisation of most networks of torchvision and timm."""
PIXELS = 64 * 224 * 224
"""Pixels that a network gets at a time: judges look at hundreds of images, which would not fit into memory at full size."""

HEAD = "must name the last layer of a judge's network, from one vector of features per image to the logits"
SMALL = re.compile("too small|Kernel size can't be greater|shapes cannot be multiplied")
"""What PyTorch's errors say when images have another size than the network's; vision transformers assert it."""


class ImageClassifier(nn.Module):
    """A network for normalised images in [0, 1] as a classifier of samples in [-1, 1]; see ``image_classifier``.

    It is a module, so that it moves between devices with its network, has a digest, and is warned of in train mode.

    Args:
        network: ``images -> logits``.
        size: Height and width that images are resized to; None for their own.
        mean: Mean of each channel of the network's images.
        std: Standard deviation of each channel.
        classes: The network's outputs to keep; None for all.
        head: Name of the layer from features to logits; None for the network's last linear layer.
    """

    mean: Tensor
    std: Tensor
    classes: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        size: tuple[int, int] | None,
        mean: Sequence[float],
        std: Sequence[float],
        classes: Sequence[int] | None,
        head: str | None,
    ) -> None:
        super().__init__()
        self.network, self._size, self._classes, self._head, self._first = network, size, classes, head, True
        device = next((one.device for one in network.parameters()), torch.device("cpu"))
        self.register_buffer("mean", torch.tensor(mean, device=device).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, device=device).reshape(-1, 1, 1))
        # As tensors they are part of the digest: with other classes, or at another size, it is another classifier.
        self.register_buffer("classes", torch.tensor(classes or (), dtype=torch.long, device=device))
        self.register_buffer("size", torch.tensor(size or (), dtype=torch.long, device=device))

    def forward(self, x: Float[Tensor, " batch *event"], t: Tensor | None = None) -> Float[Tensor, " batch classes"]:
        """Return the logits of images in [-1, 1]; ``t`` is accepted for the interface of classifiers and ignored.

        Raises:
            GuideGymError: If ``x`` are no images of the network's channels, or the network does not return logits.
        """
        del t
        return torch.cat([self._chosen(self._logits(images)) for images in self._prepared(x)])

    def features(self, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch ..."]:
        """Return the input of the network's head for images in [-1, 1]: what a judge measures distances in.

        Raises:
            GuideGymError: If the head's output is not what the network returns, or as ``forward``.
        """
        name, head = self._layer()
        found: list[Tensor] = []
        for images in self._prepared(x):
            passed: list[tuple[Tensor, object]] = []
            hook = head.register_forward_hook(lambda _, given, told, to=passed: to.append((given[0], told)))
            try:
                logits = self._logits(images)
            finally:
                hook.remove()
            given, told = passed[-1] if passed else (None, None)
            if given is None or not (told is logits or (isinstance(told, Tensor) and torch.equal(told, logits))):
                raise GuideGymError(f"{HEAD}; '{name}' returns something else than the network", argument="head")
            found.append(given)
        return torch.cat(found)

    def classify(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``features``."""
        return self._chosen(self._layer()[1](features.to(own_dtype(self.network, features.dtype))))

    def _prepared(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the network's inputs, a part of the rows at a time.

        Values beyond [-1, 1] stay beyond [0, 1]: clamped, they would have no gradient.
        """
        channels = len(self.mean)
        if x.ndim != 4 or x.shape[1] not in (1, channels):
            some = "1 channel" if channels == 1 else f"1 or {channels} channels, as `mean` has"
            raise GuideGymError(
                f"image_classifier takes images of shape (batch, channels, height, width) with {some}, "
                f"got {tuple(x.shape)}; latents must be decoded first"
            )
        height, width = self._size or x.shape[2:]
        for rows in x.split(max(1, PIXELS // max(1, height * width))):
            yield self._normalised(rows)

    def _normalised(self, x: Tensor) -> Tensor:
        """Return images as the network was trained on them, in its floating type."""
        # At least in single precision: half precision cannot be resized on every device, and loses grey levels.
        images = (x.to(torch.promote_types(x.dtype, torch.float32)) + 1) / 2
        if self._size is not None and images.shape[2:] != self._size:
            images = functional.interpolate(images, size=self._size, mode="bilinear", antialias=True)
        images = images.expand(-1, len(self.mean), -1, -1)
        return ((images - self.mean.to(images)) / self.std.to(images)).to(own_dtype(self.network, x.dtype))

    def _logits(self, images: Tensor) -> Float[Tensor, " batch outputs"]:
        """Return all logits of the network."""
        try:
            answer = self.network(images)
        except (RuntimeError, AssertionError) as error:
            if re.search(r"to have \d+ channels", str(error)):
                said = f"must have a number for each channel of the network's images, got {len(self.mean)}: {error}"
                raise GuideGymError(said, argument="mean") from error
            if isinstance(error, AssertionError) or SMALL.search(str(error)):
                said = f"must be that of the network's images, got {tuple(images.shape[2:])}: {error}"
                raise GuideGymError(said, argument="size") from error
            raise
        logits = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(answer).__name__
            raise GuideGymError(
                f"the network of image_classifier must return logits of shape ({len(images)}, outputs), or an object whose "
                f"`logits` they are, got {got}"
            )
        return logits

    def _chosen(self, logits: Tensor) -> Float[Tensor, " batch classes"]:
        """Return the logits of the wanted classes."""
        if self._classes is None:
            return logits
        if max(self._classes) >= logits.shape[1]:
            raise GuideGymError(
                f"must be in 0..{logits.shape[1] - 1}, as the network has {logits.shape[1]} outputs, got {max(self._classes)}",
                argument="classes",
            )
        if self._first and len(logits):
            # Only here are all outputs seen: a few probabilities do not sum to 1.
            warn_of_probabilities(logits, "the network of image_classifier")
            self._first = False
        return logits[:, self.classes.to(logits.device)]

    def _layer(self) -> tuple[str, nn.Module]:
        """Return the network's head and its name."""
        linear = [name for name, layer in self.network.named_modules() if isinstance(layer, nn.Linear)]
        if self._head is None and not linear:
            raise GuideGymError(f"{HEAD}; the network has no linear layer", argument="head")
        name = linear[-1] if self._head is None else self._head
        return name, self.network.get_submodule(name)


@torch.inference_mode(False)
def image_classifier(
    network: nn.Module,
    *,
    size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | Tensor | None = None,
    std: Sequence[float] | Tensor | None = None,
    classes: Sequence[int] | Tensor | None = None,
    head: str | None = None,
) -> ImageClassifier:
    r"""Return a classifier of samples in [-1, 1] from a network for normalised images, as those of torchvision and timm.

    .. math:: f(x)_y = n\left( \frac{r((x + 1) / 2) - \mu}{s} \right)_{c_y}

    with the resizing ``r`` (bilinear, antialiased). It is a model's classifier, to guide at the clean estimate by
    ``AtClean(Likelihood(name))``, and a judge, whose features are the input of the network's last layer.

    Args:
        network: ``images -> logits``, or an object with ``logits``, for images ``(batch, channels, height, width)``; it stays
            as it is, so call ``.eval()`` on it.
        size: Height and width of the network's images, or one number for both, >= 1; None for the samples' own.
        mean: Mean :math:`\mu` of each channel of images in [0, 1]; None for that of a timm network, or else ImageNet's. Grey
            samples are repeated over the channels.
        std: Standard deviation ``s`` of each channel, > 0; given with ``mean``.
        classes: Which of the network's outputs :math:`c_y` is each class of the model; None if they are the same.
        head: Name of the network's last layer, for judges; None for its last ``nn.Linear``.

    Raises:
        GuideGymError: If one of the arguments is not as above.
    """
    if not isinstance(network, nn.Module):
        raise GuideGymError(f"must be a torch.nn.Module, got {shown(network)}", argument="network")
    if (mean is None) != (std is None):
        raise GuideGymError("must be given together with `mean`, or neither", argument="std")
    if mean is None or std is None:
        known = getattr(network, "pretrained_cfg", None)  # timm's
        known = known if isinstance(known, dict) else {}
        mean, std = known.get("mean", IMAGENET_MEAN), known.get("std", IMAGENET_STD)
    mean, std = _numbers("mean", mean), _numbers("std", std)
    if len(mean) != len(std):
        raise GuideGymError(f"must have {len(mean)} numbers, as `mean`, got {len(std)}", argument="std")
    if min(std) <= 0:
        raise GuideGymError(f"must be > 0, got {min(std)}", argument="std")
    if head is not None and head not in dict(network.named_modules()):
        raise GuideGymError(f"must be the name of one of the network's layers, got {shown(head)}", argument="head")
    return ImageClassifier(
        network, size=_height_and_width(size), mean=mean, std=std, classes=_outputs(classes), head=head
    )


def _numbers(name: str, given: object) -> tuple[float, ...]:
    """Return one number per channel."""
    listed = _listed(given)
    if not listed:
        raise GuideGymError(f"must have a number for each channel, got {shown(given)}", argument=name)
    return tuple(finite_number(name, one) for one in listed)


def _listed(given: object) -> list[Any]:
    """Return a sequence, an array or a tensor as a list; an empty one for anything else."""
    listed = given.tolist() if hasattr(given, "tolist") else given
    return list(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else []


def _height_and_width(given: object) -> tuple[int, int] | None:
    """Return the size of images."""
    if given is None:
        return None
    if not isinstance(given, tuple | list):
        return (side := whole_number("size", given, least=1)), side
    if len(given) != 2:
        raise GuideGymError(f"must be a height and a width, got {shown(given)}", argument="size")
    return whole_number("size", given[0], least=1), whole_number("size", given[1], least=1)


def _outputs(given: object) -> list[int] | None:
    """Return the network's outputs that are the model's classes."""
    if given is None:
        return None
    found = [whole_number("classes", one, least=0) for one in _listed(given)]
    if not found:
        raise GuideGymError(
            f"must have one of the network's outputs for each class, got {shown(given)}", argument="classes"
        )
    if len(set(found)) < len(found):
        raise GuideGymError(f"must be different, got {shown(given)}", argument="classes")
    return found
