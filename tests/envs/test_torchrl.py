"""TorchRL's own check of the native vector environment, in both modes it allows."""

import pytest
from torchrl.envs import GymWrapper
from torchrl.envs.utils import check_env_specs

from guidegym.envs import GuidanceVectorEnv


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
@pytest.mark.parametrize("observation", ["full", "features", "sample"])
def test_torchrl_finds_nothing_wrong(mode: str, observation: str) -> None:
    env = GymWrapper(GuidanceVectorEnv(3, autoreset_mode=mode, observation=observation, num_steps=4))
    check_env_specs(env, seed=0)
    rollout = env.rollout(6, break_when_any_done=False)
    assert rollout.batch_size == (3, 6)
    assert rollout["next", "done"].sum() == 3
