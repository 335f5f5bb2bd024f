"""Networks without a gradient: the cause and the remedy in one line."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import guidegym as gg
from guidegym import GuideGymError, Testbed
from guidegym.attacks.carlini_wagner import carlini_wagner_l2
from guidegym.attacks.pgd import pgd
from guidegym.metrics.gradients import density_score

FROZEN = r"has no gradient: it recomputes parts of itself .* some are frozen: call `.requires_grad_\(True\)` on it"


class Recomputed(torch.autograd.Function):
    """A part of a network that is evaluated again in the backward pass and differentiated by its input and its parameters."""

    @staticmethod
    def forward(ctx: Any, part: Callable[[Tensor], Tensor], x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.part, ctx.x, ctx.parameters = part, x, parameters
        with torch.no_grad():
            return part(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        again = ctx.x.detach().requires_grad_(True)
        with torch.enable_grad():
            output = ctx.part(again)
        return None, *torch.autograd.grad(output, [again, *ctx.parameters], slopes, allow_unused=True)


class Checkpointed(nn.Module):
    """A classifier or a denoiser of two numbers, as guided-diffusion's networks save memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        answer: Tensor = Recomputed.apply(self.layer, x, *self.layer.parameters())
        return answer


def _sampled(testbed: Testbed, guidance: gg.Guidance) -> Tensor:
    return gg.sample(testbed, guidance, labels=[0, 1], sampler=gg.DDIM(3)).x


@pytest.mark.parametrize("guide", [gg.Likelihood("mine"), gg.ClassEnergy("mine"), gg.AtClean(gg.Likelihood("mine"))])
def test_a_frozen_network_with_checkpoints_says_what_to_do(exact: Testbed, guide: gg.Guide) -> None:
    network = Checkpointed()
    testbed, guidance = dataclasses.replace(exact, classifiers={"mine": network}), gg.Guidance(guide, gg.Constant(1.0))
    free = _sampled(testbed, guidance)
    network.requires_grad_(False)
    with pytest.raises(GuideGymError, match=f"classifier 'mine' of model 'gaussians' {FROZEN}") as caught:
        _sampled(testbed, guidance)
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(_sampled(testbed, guidance) if network.requires_grad_(True) else None, free)


def test_so_do_frozen_denoisers_classifiers_as_base_models_and_attacks(exact: Testbed) -> None:
    network = Checkpointed().requires_grad_(False)
    own = dataclasses.replace(exact, denoiser=network, classifiers={**exact.classifiers, "mine": network})
    with pytest.raises(GuideGymError, match=f"the denoiser {FROZEN}"):
        _sampled(own, gg.Guidance(gg.AtClean(gg.Likelihood("exact")), gg.Constant(1.0)))
    with pytest.raises(GuideGymError, match=f"classifier 'mine' of model 'gaussians' {FROZEN}"):
        _sampled(own, gg.Guidance(base_model=gg.ClassifierScore("mine")))
    classify, x, t = own.classifier("mine"), torch.randn(4, 2, dtype=torch.float64), torch.zeros(4)
    labels = torch.tensor([0, 1, 1, 0])
    calls: tuple[Callable[[], object], ...] = (
        lambda: density_score(classify, x, t),
        lambda: pgd(classify, x, labels, t=t, radius=0.5, num_steps=1, bounds=None),
        lambda: carlini_wagner_l2(classify, x, labels, t=t, num_steps=2, search_steps=1, bounds=(-9.0, 9.0)),
    )
    for call in calls:
        with pytest.raises(GuideGymError, match=FROZEN):
            call()


@pytest.mark.parametrize(
    ("classify", "said"),
    [
        (lambda layer, x: checkpoint(layer, x, use_reentrant=True), "in a way that .*: use `use_reentrant=False`"),
        (lambda layer, x: layer(x).detach(), "its output is cut off from its input, as by `no_grad`, `detach`"),
        (lambda layer, x: layer(x.detach()), "its output does not depend on its input, or is cut off"),
    ],
)
def test_other_networks_without_a_gradient_say_why(
    exact: Testbed, classify: Callable[[nn.Module, Tensor], Tensor], said: str
) -> None:
    layer = nn.Linear(2, 2).double()
    testbed = dataclasses.replace(exact, classifiers={"mine": lambda x, t: classify(layer, x)})
    with pytest.raises(GuideGymError, match=f"classifier 'mine' of model 'gaussians' has no gradient: .*{said}"):
        _sampled(testbed, gg.Guidance(gg.Likelihood("mine"), gg.Constant(1.0)))


def test_errors_of_a_network_s_own_stay_what_they_are(exact: Testbed) -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *slopes: Tensor) -> Any:
            raise RuntimeError("of its own")

    testbed = dataclasses.replace(exact, classifiers={"mine": lambda x, t: Fails.apply(x)})
    with pytest.raises(RuntimeError, match="of its own"):
        _sampled(testbed, gg.Guidance(gg.Likelihood("mine"), gg.Constant(1.0)))
