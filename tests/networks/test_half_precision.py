"""The networks of the zoo compute in half precision what they compute in single precision, to its rounding."""

import copy

import pytest
import torch
from torch import nn

from guidegym.networks import (
    DepthwiseJudge,
    Judge,
    MaxMahalanobisClassifier,
    MixerJudge,
    OffTheShelfClassifier,
    ResidualJudge,
    TimeDependentClassifier,
    UNet,
)

TIMED = (
    lambda: UNet(channels=(16, 32)),
    lambda: UNet(channels=(16, 32), num_classes=3),
    lambda: UNet(channels=(16, 32), velocity="cosine"),
    TimeDependentClassifier,
)
TIMELESS = (OffTheShelfClassifier, MaxMahalanobisClassifier, Judge, ResidualJudge, DepthwiseJudge, MixerJudge)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("build", [*TIMED, *TIMELESS])
def test_half_precision_is_single_precision_to_its_rounding(build: type[nn.Module], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = build().eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:  # layers that begin at zero would hide what goes wrong before them
            nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    x, t = torch.randn(4, 1, 28, 28), torch.tensor([0.0, 301.0, 998.0, 999.0])
    with torch.no_grad():
        wanted = network(x, t)
        got = copy.deepcopy(network).to(dtype)(x.to(dtype), t)
    assert got.dtype == dtype
    off = (got.float() - wanted).norm() / wanted.norm()
    assert float(off) < (0.06 if dtype == torch.bfloat16 else 0.01)
