"""Record the moving pictures of the environment pages: an episode of fashion under a weight that rises.

python benchmarks/episode_pictures.py
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

import guidegym  # noqa: F401 - registers the environments

FOLDER = Path(__file__).parent.parent / "docs" / "environments"


def main() -> None:
    for name, size in (("GuidanceWeight", 1), ("ProgressiveGuidance", 2)):
        arguments: dict[str, Any] = {"testbed": "fashion", "sampler": {"kind": "ddim", "eta": 1.0}, "num_steps": 20}
        env = gym.make_vec(
            f"guidegym/{name}-v0",
            num_envs=9,
            vectorization_mode="vector_entry_point",
            render_mode="rgb_array",
            observation="sample",
            autoreset_mode="Disabled",
            **arguments,
        )
        env.reset(seed=1)
        frames = []
        for step in range(20):
            actions = np.full((9, size), 0.5, dtype=np.float32)
            actions[:, 0] = step / 20 - 0.5
            actions[:, 1:] = -0.7
            env.step(actions)
            rendered = env.render()
            assert isinstance(rendered, tuple)
            frames.append(Image.fromarray(np.asarray(rendered[0])).quantize(32))
        file = "guidance-weight.gif" if size == 1 else "progressive-guidance.gif"
        frames[0].save(
            FOLDER / file,
            save_all=True,
            append_images=frames[1:] + frames[-1:] * 8,
            duration=200,
            loop=0,
            optimize=True,
        )
        print(FOLDER / file)


if __name__ == "__main__":
    main()
