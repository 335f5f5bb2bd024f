"""The ``gaussians`` testbed: two classes in the plane with several modes each, known in closed form."""

import functools
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import Process, VEProcess, VPProcess
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.testbeds.references import References, references_from_features
from guidegym.testbeds.testbed import Rows, Testbed

MEANS = (((-1.6, 0.6), (-0.4, -1.4), (0.5, 1.3)), ((1.7, 0.2), (-0.7, 1.7), (0.3, -0.5)))
"""Mode centres by class."""
SPREADS = ((0.35, 0.25, 0.30), (0.30, 0.25, 0.40))
"""Standard deviation of each mode, the same in both directions."""
SHARES = ((0.5, 0.3, 0.2), (0.4, 0.35, 0.25))
"""Share of each mode within its class; the classes are equally likely."""

LINEAR = VPProcess("linear")
"""The testbed's default process."""


class GaussianMixture:
    r"""A mixture of Gaussians under a noise process, exact at every timestep.

    .. math:: p_t(x | y) = \sum_m \pi_{ym}\, N(x;\; \sqrt{\bar\alpha_t} \mu_{ym},\; (\bar\alpha_t s_{ym}^2 + \sigma_t^2) I)

    Args:
        process: The noise process.
        dtype: Floating type of the parameters.
        device: Device of the parameters.
        widen: Factor on the modes' standard deviations.
        offset: Added to the modes' centres.
    """

    def __init__(
        self,
        process: Process,
        *,
        dtype: torch.dtype,
        device: torch.device,
        widen: float = 1.0,
        offset: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.process = process
        self.means = torch.tensor(MEANS, dtype=dtype, device=device) + torch.tensor(offset, dtype=dtype, device=device)
        self.spreads = torch.tensor(SPREADS, dtype=dtype, device=device) * widen
        self.shares = torch.tensor(SHARES, dtype=dtype, device=device)
        self.num_classes = len(MEANS)

    def _moments(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for each row, the share of signal variance and the variance of each mode."""
        alpha_bar_t = self.process.alpha_bar(t, x.dtype)[:, None, None]
        noise = self.process.sigma(t, x.dtype).square()[:, None, None]
        return alpha_bar_t, alpha_bar_t * self.spreads.square() + noise

    def log_joint(
        self, x: Float[Tensor, " batch 2"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch classes modes"]:
        r"""Return :math:`\log p_t(x, y, m)`, at times ``t``; ``-1`` is clean."""
        alpha_bar_t, variance = self._moments(x, t)
        distance = (x[:, None, None, :] - alpha_bar_t.sqrt()[..., None] * self.means).square().sum(dim=-1)
        prior = self.shares.log() - torch.tensor(float(self.num_classes), dtype=x.dtype).log()
        return prior - distance / (2 * variance) - torch.log(2 * torch.pi * variance)

    def logits(self, x: Float[Tensor, " batch 2"], t: Float[Tensor, " batch"]) -> Float[Tensor, " batch classes"]:
        r"""Return :math:`f(x, t)_y = \log p_t(x, y)`: its softmax is the exact posterior, its logsumexp the exact marginal."""
        return self.log_joint(x, t).logsumexp(dim=2)

    def score(self, x: Float[Tensor, " batch 2"], t: Float[Tensor, " batch"]) -> Float[Tensor, " batch 2"]:
        r"""Return :math:`\nabla_x \log p_t(x)` of the marginal in closed form."""
        return self._score(x, t, self.log_joint(x, t))

    def _score(self, x: Tensor, t: Tensor, log_joint: Tensor) -> Tensor:
        """Return the score of the mixture: the modes' scores weighted by their posterior."""
        alpha_bar_t, variance = self._moments(x, t)
        share = log_joint.flatten(1).softmax(dim=1).reshape(variance.shape)
        pull = (alpha_bar_t.sqrt()[..., None] * self.means - x[:, None, None, :]) / variance[..., None]
        return (share[..., None] * pull).sum(dim=(1, 2))

    def noise(self, x_t: Float[Tensor, " batch 2"], t: Float[Tensor, " batch"]) -> Float[Tensor, " batch 2"]:
        r"""Return the exact noise prediction :math:`\epsilon(x_t, t) = -\sigma_t \nabla \log p_t(x_t)`."""
        return -self.process.sigma(t, x_t.dtype)[:, None] * self.score(x_t, t)

    def conditional_noise(
        self, x_t: Float[Tensor, " batch 2"], t: Float[Tensor, " batch"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch 2"]:
        """Return the exact noise prediction for the class of each row, unconditional where the label is -1."""
        other = torch.arange(self.num_classes, device=label.device) != label[:, None]
        joint = self.log_joint(x_t, t).masked_fill((other & (label >= 0)[:, None])[..., None], -torch.inf)
        return -self.process.sigma(t, x_t.dtype)[:, None] * self._score(x_t, t, joint)

    def sample(self, labels: Int[Tensor, " batch"], generator: torch.Generator) -> Float[Tensor, " batch 2"]:
        """Draw clean points of the given classes."""
        cpu = self.means.device.type == "cpu"
        shares = self.shares[labels] if cpu else self.shares.cpu()[labels.cpu()]
        modes = torch.multinomial(shares, 1, generator=generator)[:, 0].to(self.means.device)
        noise = torch.randn(len(labels), 2, generator=generator, dtype=torch.float64).to(self.means)
        return self.means[labels, modes] + self.spreads[labels, modes][:, None] * noise


class PlaneJudge:
    """The exact posterior as judge; distances are measured in the plane itself."""

    def __init__(self, mixture: GaussianMixture) -> None:
        self.mixture = mixture

    def features(self, x: Float[Tensor, " batch 2"]) -> Float[Tensor, " batch 2"]:
        """Return ``x`` itself."""
        return x

    def classify(self, features: Float[Tensor, " batch 2"]) -> Float[Tensor, " batch classes"]:
        """Return the exact logits of clean points."""
        return self.mixture.logits(features, torch.full_like(features[:, 0], self.mixture.process.clean))


def _references(mixture: GaussianMixture) -> References:
    """Draw 20 000 points per class with a fixed seed: moments are over all of them, and the first 1000 are kept."""
    labels = torch.arange(mixture.num_classes).repeat_interleave(20_000)
    points = mixture.sample(labels.to(mixture.means.device), torch.Generator().manual_seed(20_000))
    return references_from_features(
        points, labels.to(points.device), num_classes=mixture.num_classes, kept=1000, extractor="plane"
    )


def _class_energies(mixture: GaussianMixture, references: References) -> Float[Tensor, " classes"]:
    """Return the mean energy of each class over the references."""
    points = references.features.to(mixture.means)
    clean = torch.full((points.shape[1],), -1.0, dtype=points.dtype, device=points.device)
    return torch.stack([-mixture.logits(own, clean).logsumexp(dim=1).mean() for own in points])


def _test_rows(mixture: GaussianMixture, source: Path | None) -> Rows:
    """Draw 2000 points per class, none of them among the references."""
    if source is not None:
        raise GuideGymError(f"the mixture is sampled, not read from a folder, got {str(source)!r}")
    labels = torch.arange(mixture.num_classes, device=mixture.means.device).repeat_interleave(2000)
    return Rows(mixture.sample(labels, torch.Generator().manual_seed(2000)), labels)


@register("testbed", "gaussians-imperfect")
def load_imperfect(device: torch.device) -> Testbed:
    """Build ``gaussians-imperfect``: the same data, with a denoiser and a guide that err as trained ones do.

    The denoiser blurs - it is exact for modes 1.5 times as wide - and the classifier ``skewed`` is overconfident and
    slightly shifted: it is exact for modes 0.7 times as wide, moved by (0.25, -0.2). The best weight then depends on the
    sample's position, so no constant is optimal. Judge and references are exact.
    """
    perfect = load_gaussians(device)
    blurred = GaussianMixture(LINEAR, dtype=perfect.dtype, device=device, widen=1.5)
    skewed = GaussianMixture(LINEAR, dtype=perfect.dtype, device=device, widen=0.7, offset=(0.25, -0.2))
    return replace(
        perfect,
        name="gaussians-imperfect",
        denoiser=blurred.noise,
        classifiers={"skewed": skewed.logits},
        identity="imperfect",
        class_energies={"skewed": _class_energies(skewed, perfect.references)},
        conditionals={"conditional": blurred.conditional_noise},
        judge_note="",
    )


def load_gaussians(device: torch.device, *, dtype: torch.dtype = torch.float32, process: Process = LINEAR) -> Testbed:
    """Build the testbed under a noise process; float64 makes it an oracle for tests.

    Its one classifier ``exact`` is the exact posterior, with log-densities as logits: class energies are exact, too.
    """
    mixture = GaussianMixture(process, dtype=dtype, device=device)
    references = _references(mixture)
    return Testbed(
        name="gaussians-ve" if isinstance(process, VEProcess) else "gaussians",
        process=process,
        denoiser=mixture.noise,
        classifiers={"exact": mixture.logits},
        judge=PlaneJudge(mixture),
        references=references,
        class_names=("first", "second"),
        event_shape=(2,),
        clip=None,
        device=device,
        dtype=dtype,
        identity="exact",
        class_energies={"exact": _class_energies(mixture, references)},
        conditionals={"conditional": mixture.conditional_noise},
        test_data=functools.partial(_test_rows, mixture),
        exact=mixture.logits,
        judge_note="The judge is the exact posterior, which is the guide's classifier, too.",
    )


@register("testbed", "gaussians")
def gaussians(device: torch.device) -> Testbed:
    """Return the mixture under a linear VP process."""
    return load_gaussians(device)


@register("testbed", "gaussians-ve")
def gaussians_ve(device: torch.device) -> Testbed:
    """Return the mixture under a variance-exploding process."""
    return load_gaussians(device, process=VEProcess())
