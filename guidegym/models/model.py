"""The Model record: everything needed to generate a guided sample."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion import DDIM, PREDICTIONS, Process, Sampler
from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier, ConditionalNetwork, Denoiser
from guidegym.models.checked import Checked, CheckedDenoiser
from guidegym.models.from_diffusers import diffusers_parts
from guidegym.models.from_guided_diffusion import guided_diffusion_parts
from guidegym.models.from_pipeline import pipeline_parts
from guidegym.support.settings import plain_fields

CPU = torch.device("cpu")
DECODED = 32
"""Samples that are decoded at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    r"""A model to sample and guide: a noise process, a denoiser, and classifiers to guide with.

    Args:
        process: The noise process that the networks were trained on.
        denoiser: The unconditional network, ``(x_t, t) -> prediction``; None if there are only conditional ones.
        event_shape: Shape of one sample.
        class_names: One name per class.
        classifiers: Classifiers that may guide, by name, ``(x_t, t) -> logits``.
        conditionals: Label-conditional denoisers by name, ``(x_t, t, label) -> prediction`` with label -1 for no class; guides
            use ``conditional`` by default.
        prediction: What the denoiser and the conditionals predict: ``noise``, ``denoised``, ``v``, ``velocity`` (of a flow) or
            ``score``; see ``guidegym.diffusion.read_prediction``.
        learned_variance: Whether they also predict a variance, in as many further channels: where its logarithm lies between
            the smallest (-1) and the largest (1), for ``DDPM(variance="learned")``.
        null_class: Whether the conditionals can predict without a class, as classifier-free guidance needs.
        rule: The sampler of a given number of steps that the model was made for; None for ``DDIM``.
        decode: Turns finished samples into images in [-1, 1], ``(batch, *event) -> (batch, channels, height, width)``, if they
            are latents; pictures show its images, and objectives find them in ``Finished.images``.
        clip: Bound on the absolute value of clean data; None if there is none.
        device: Device of the networks.
        dtype: Floating type of the samples.
        name: Its name in results.
        identity: Digest of the weights, or any text that changes with the networks: trials of different networks are not
            comparable.
        class_energies: For classifiers by name, the mean energy :math:`E(x) = -\log \sum_y e^{f(x)_y}` of real data of each
            class; missing ones are unknown.
        similarities: Similarity of the classes' descriptions: matrices of cosines, by text encoder name.

    Raises:
        GuideGymError: If a bound is not positive, or a matrix does not contain cosines between the classes.
    """

    process: Process
    denoiser: Denoiser | None = None
    event_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)
    conditionals: Mapping[str, ConditionalNetwork] = field(default_factory=dict)
    prediction: str = "noise"
    learned_variance: bool = False
    null_class: bool = True
    rule: Callable[[int], Sampler] | None = None
    decode: Callable[[Tensor], Tensor] | None = None
    clip: float | None = None
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    name: str = "model"
    identity: str = ""
    class_energies: Mapping[str, Float[Tensor, " classes"]] = field(default_factory=dict)
    similarities: Mapping[str, Float[Tensor, " classes classes"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain_fields(self)
        classes = len(self.class_names)
        if self.denoiser is None and not self.conditionals:
            raise GuideGymError("must be given if there are no `conditionals`", argument="denoiser")
        if self.prediction not in PREDICTIONS:
            raise GuideGymError(
                f"must be one of {', '.join(PREDICTIONS)}, got {self.prediction!r}", argument="prediction"
            )
        for name, matrix in self.similarities.items():
            if tuple(matrix.shape) != (classes, classes) or not bool(matrix.isfinite().all()):
                raise GuideGymError(
                    f"`similarities` of '{name}' must be a finite matrix of shape {(classes, classes)}, got {tuple(matrix.shape)}"
                )
        if self.clip is not None and not self.clip > 0:
            raise GuideGymError(f"`clip` must be > 0 or None, got {self.clip}")

    @classmethod
    def from_diffusers(
        cls,
        network: Any,
        scheduler: Any = None,
        *,
        class_names: Sequence[str] = (),
        null_class: int | None = None,
        classifiers: Mapping[str, Classifier] | None = None,
        name: str = "diffusers",
    ) -> "Model":
        """Return the model of an image network of diffusers, unconditional or class-conditional, and its scheduler.

        ``model.sampler(num_steps)`` is the rule of a DDIM, DDPM or FlowMatchEuler scheduler; models of other schedulers are
        sampled by ours.

        Args:
            network: A network such as ``UNet2DModel``, or a pipeline that holds it and its scheduler.
            scheduler: The scheduler, if the network is given alone.
            class_names: Names of the classes of a class-conditional network.
            null_class: The class embedding that stands for no class; None if there is none.
            classifiers: Classifiers that may guide, by name.
            name: Its name in results.

        Raises:
            GuideGymError: If the network or the scheduler is of an unsupported kind.
        """
        parts = diffusers_parts(
            network, scheduler, class_names=class_names, null_class=null_class, classifiers=classifiers
        )
        return cls(**parts, name=name)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: Any,
        prompts: Sequence[str],
        *,
        negative_prompt: str | None = None,
        decode: Callable[[Tensor], Tensor] | None = None,
        name: str = "pipeline",
        **call: Any,
    ) -> "Model":
        """Return the model of a text-to-image pipeline of diffusers; labels are the numbers of the prompts.

        A label of -1 is the negative prompt, the guide is ``ClassifierFree``, and ``guidance_scale`` is its weight plus 1. Two
        steps of the pipeline are done to see whether it guides in that way.

        Args:
            pipeline: The pipeline.
            prompts: The prompts, all different.
            negative_prompt: What stands for no prompt; None for what the pipeline takes then.
            decode: Turns finished latents into images in [-1, 1]; None for the pipeline's ``vae``.
            name: Its name in results.
            call: Further arguments of the pipeline's call, such as ``height`` and ``width``.

        Raises:
            GuideGymError: If the pipeline guides in another way, or its scheduler or latents are of an unsupported kind.
        """
        parts = pipeline_parts(pipeline, prompts, negative_prompt=negative_prompt, decode=decode, **call)
        return cls(**parts, name=name)

    @classmethod
    def from_guided_diffusion(
        cls,
        network: Callable[..., Tensor],
        diffusion: Any,
        *,
        event_shape: tuple[int, ...],
        class_names: Sequence[str] = (),
        classifiers: Mapping[str, Classifier] | None = None,
        conditional: bool = False,
        name: str = "guided-diffusion",
    ) -> "Model":
        """Return the model of a network of guided-diffusion (ADM) and its ``GaussianDiffusion`` or ``SpacedDiffusion``.

        ``model.sampler(25)`` is its ``p_sample_loop`` over "25" steps, ``DDIM(25, spacing="leading", clipping="unguided")`` its
        ``ddim_sample_loop`` over "ddim25". The ``cond_fn`` is the guide ``Likelihood`` of a classifier, its scale the weight.

        Args:
            network: ``(x, t)``, or ``(x, t, y=label)`` if it is class-conditional.
            diffusion: The diffusion.
            event_shape: Shape of one sample.
            class_names: Names of the classes of the network, or of the classifiers.
            classifiers: Classifiers that may guide, by name.
            conditional: Whether the network is class-conditional.
            name: Its name in results.

        Raises:
            GuideGymError: If the diffusion's kind of mean or variance is unsupported.
        """
        parts = guided_diffusion_parts(
            network,
            diffusion,
            event_shape=event_shape,
            class_names=class_names,
            classifiers=classifiers,
            conditional=conditional,
        )
        return cls(**parts, name=name)

    def sampler(self, num_steps: int) -> Sampler:
        """Return the model's own sampler with a number of steps, or ``DDIM``."""
        return DDIM(num_steps) if self.rule is None else self.rule(num_steps)

    @torch.no_grad()
    def images(self, x: Float[Tensor, " n *event"]) -> Float[Tensor, " n ..."]:
        """Return finished samples as images: decoded in chunks, or as they are."""
        if self.decode is None or len(x) == 0:
            return x
        return torch.cat([self.decode(rows) for rows in x.split(DECODED)])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @functools.cached_property
    def _asked(self) -> dict[tuple[str, str], Checked | CheckedDenoiser]:
        """The networks that were called so far: each warning is given once."""
        return {}

    def _denoising(self, role: str, name: str, network: Callable[..., Tensor]) -> CheckedDenoiser:
        """Return a denoiser with checked calls."""
        what = f"{role} '{name}' of model '{self.name}'" if name else f"the {role} of model '{self.name}'"
        if (role, name) not in self._asked:
            self._asked[role, name] = CheckedDenoiser(
                network, what, self.process, self.prediction, learned_variance=self.learned_variance
            )
        found = self._asked[role, name]
        assert isinstance(found, CheckedDenoiser)
        return found

    @property
    def is_conditional(self) -> bool:
        """Whether there are only conditional denoisers."""
        return self.denoiser is None

    def unconditional(self) -> CheckedDenoiser:
        """Return the denoiser with checked calls; see ``CheckedDenoiser``.

        Raises:
            GuideGymError: If the model has none.
        """
        if self.denoiser is None:
            raise GuideGymError(f"model '{self.name}' has no unconditional denoiser")
        return self._denoising("denoiser", "", self.denoiser)

    def classifier(self, name: str) -> Classifier:
        """Return the classifier called ``name`` with checked calls; see ``Checked``.

        Raises:
            GuideGymError: If the model has no network of that name.
        """
        if ("classifier", name) not in self._asked:
            network = self._named("classifier", name, self.classifiers)
            what = f"classifier '{name}' of model '{self.name}'"
            self._asked["classifier", name] = Checked(network, what, num_classes=self.num_classes)
        found = self._asked["classifier", name]
        assert isinstance(found, Checked)
        return found

    def conditional(self, name: str) -> CheckedDenoiser:
        """Return the label-conditional denoiser called ``name`` with checked calls; see ``CheckedDenoiser``.

        Raises:
            GuideGymError: If the model has no network of that name.
        """
        return self._denoising(
            "conditional denoiser", name, self._named("conditional denoiser", name, self.conditionals)
        )

    def _named(self, role: str, name: str, networks: Mapping[str, Callable[..., Tensor]]) -> Callable[..., Tensor]:
        """Return one of the networks of a role."""
        if name not in networks:
            known = f"it has {', '.join(networks)}" if networks else "it has none"
            raise GuideGymError(f"model '{self.name}' has no {role} '{name}'; {known}")
        return networks[name]
