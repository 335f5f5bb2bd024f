"""Measure the environments: rows a second, overhead over the bare engine, and what the bridge adds.

    python benchmarks/environments.py [--device cpu] [--seconds 1.5]

The result goes to ``benchmarks/results/DATE-environments-DEVICE.json``.
"""

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from speed import machine

from guidegym.envs import GuidanceEnv, GuidanceVectorEnv
from guidegym.envs.sb3 import SB3VecEnv

ROOT = Path(__file__).parent.parent
STEPS = 20


def step_seconds(step: Callable[[], object], seconds: float) -> float:
    """Return the median time of a step, measured for about so many seconds."""
    step()
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 3:
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure(testbed: str, num: int, *, device: str, seconds: float) -> dict[str, Any]:
    """Time one step of ``num`` rows in every way."""
    arguments: dict[str, Any] = {"testbed": testbed, "num_steps": STEPS, "device": device, "observation": "features"}
    native = GuidanceVectorEnv(num, **arguments)
    native.reset(seed=0)
    actions = np.zeros((num, 1), dtype=np.float32)
    task = native.episodes.task
    live = task.look(task.begin(torch.arange(num) % 2, torch.arange(num)))
    weight = torch.full((num,), 4.0, device=device)

    def bare() -> None:
        task.engine.advance(live.state, task.engine.predict(live.state, clean=True), weight)

    bridge = SB3VecEnv(GuidanceVectorEnv(num, **arguments))
    bridge.reset()
    times = {
        "engine": step_seconds(bare, seconds),
        "native": step_seconds(lambda: native.step(actions), seconds),
        "bridge": step_seconds(lambda: bridge.step(actions), seconds),
    }
    if testbed == "gaussians" or num <= 16:  # a second network in every row of many would fill the memory
        singles = SyncVectorEnv([lambda: GuidanceEnv(**arguments)] * num)
        singles.reset(seed=0)
        times["sync"] = step_seconds(lambda: singles.step(actions), seconds)
    result: dict[str, Any] = {
        "testbed": testbed,
        "rows": num,
        "rows_per_second": {name: round(num / value, 1) for name, value in times.items()},
        "environment_over_engine": round(times["native"] / times["engine"], 3),
        "bridge_over_native": round(times["bridge"] / times["native"], 3),
    }
    if "sync" in times:
        result["native_over_sync"] = round(times["sync"] / times["native"], 1)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=1.5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    rows = []
    for testbed in ("gaussians", "fashion"):
        for num in (1, 16, 64, 256):
            rows.append(measure(testbed, num, device=arguments.device, seconds=arguments.seconds))
            print(json.dumps(rows[-1]), flush=True)
    date = datetime.date.today().isoformat()
    path = ROOT / "benchmarks" / "results" / f"{date}-environments-{device.type}.json"
    path.write_text(json.dumps({"date": date, "machine": machine(device), "environments": rows}, indent=2) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
