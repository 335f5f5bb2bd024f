"""Measure our guided loop on other libraries' models, beside their own loops and beside the bare network calls.

    python benchmarks/own_models.py [--device cpu] [--rows 64] [--steps 10] [--width 16] [--repeats 7]

For each family all variants run in one process, in turn, on the same network and the same noise, and ratios are taken within a
round: a machine that is slow for a while is slow for all of them. On a CPU, ratios of processor time are added, which leave out
what other programs took, and the time that each loop spends inside and outside of the networks, which a shared machine slows
alike. Samples are compared first: different ones would make the comparison meaningless. The result goes to
``benchmarks/results/DATE-own-models-DEVICE.json``.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from own_model_families import Family, Setting, families
from speed import STEPS, machine, seconds

TOLERANCE = 5e-3
"""Largest difference between both samples, as a share of the largest value: both compute in single precision."""


def both_seconds(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Time one call, by the clock and by the processor."""
    began = time.process_time()
    elapsed = seconds(run, device)
    return elapsed, time.process_time() - began


class Inside:
    """Counts processor time inside of networks: the outermost calls of modules, and the gradients that are taken."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began, self._depth = time.process_time(), self._depth + 1
            try:
                return call(*args, **kwargs)
            finally:
                self._depth -= 1
                self.seconds += time.process_time() - began if self._depth == 0 else 0.0

        return timed

    def ratio(self, run: Callable[[], object], steps: int) -> tuple[float, float]:
        """Return the time of a run over that inside of networks, and the milliseconds outside of them per step."""
        self.seconds = 0.0
        with (
            mock.patch.object(torch.nn.Module, "__call__", self._timed(torch.nn.Module.__call__)),
            mock.patch.object(torch.autograd, "grad", self._timed(torch.autograd.grad)),
        ):
            began = time.process_time()
            run()
            whole = time.process_time() - began
        return whole / self.seconds, 1000 * (whole - self.seconds) / steps


def measure(family: Family, setting: Setting, repeats: int) -> dict[str, Any]:
    """Compare the samples, then time all variants in turn."""
    mine, other = family.ours(), family.theirs(family.noise)
    difference = float((mine - other).abs().max() / other.abs().max())
    if not difference < TOLERANCE:
        raise SystemExit(f"{family.name}: samples differ by {difference:.1e} of the largest value")
    runs: dict[str, Callable[[], object]] = {
        "bare": family.bare,
        "ours": family.ours,
        "theirs": functools.partial(family.theirs, None),
    }
    for run in runs.values():
        run()
    rounds = [{name: both_seconds(run, setting.device) for name, run in runs.items()} for _ in range(repeats)]

    def ratio(above: str, below: str, clock: int) -> float:
        return round(statistics.median(one[above][clock] / one[below][clock] for one in rounds), 3)

    result: dict[str, Any] = {
        "median_seconds": {name: round(statistics.median(one[name][0] for one in rounds), 4) for name in runs},
        "ours_over_bare": ratio("ours", "bare", 0),
        "ours_over_theirs": ratio("ours", "theirs", 0),
        "theirs_over_bare": ratio("theirs", "bare", 0),
        "largest_difference": float(f"{difference:.1e}"),
    }
    if setting.device.type == "cpu":
        result["processor_time"] = {
            "ours_over_bare": ratio("ours", "bare", 1),
            "ours_over_theirs": ratio("ours", "theirs", 1),
        }
        for name in ("ours", "theirs"):
            found = [Inside().ratio(runs[name], setting.steps) for _ in range(repeats)]
            over, outside = (statistics.median(numbers) for numbers in zip(*found, strict=True))
            result[f"{name}_over_inside"] = round(over, 4)
            result[f"{name}_outside_ms_per_step"] = round(outside, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, choices=STEPS, metavar="N")
    parser.add_argument("--width", type=int, default=16, help="channels of the networks, a multiple of 8")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="measure the families whose names contain this, and write nothing")
    arguments = parser.parse_args()
    setting = Setting(arguments.rows, arguments.steps, arguments.width, torch.device(arguments.device))
    table = {}
    for family in families(setting):
        if arguments.only in family.name:
            table[family.name] = measure(family, setting, arguments.repeats)
            print(f"{family.name:32s}", table[family.name], flush=True)
    if arguments.only:
        return
    date = datetime.now(tz=UTC).date().isoformat()
    content = {
        "date": date,
        "machine": machine(setting.device),
        **{name: getattr(arguments, name) for name in ("rows", "steps", "width", "repeats")},
        "families": table,
    }
    out = Path(__file__).parent / "results" / f"{date}-own-models-{setting.device.type}.json"
    out.write_text(json.dumps(content, indent=2) + "\n")
    print(out.name)


if __name__ == "__main__":
    main()
