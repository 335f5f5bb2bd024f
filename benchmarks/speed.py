"""Measure what guided sampling and the default search cost, beside the bare network calls and beside diffusers.

    python benchmarks/speed.py [--search] [--device cpu] [--rows 128] [--steps 20] [--repeats 7]

All variants run in one process, in turn, on the same networks and the same guidance. The result goes to
``benchmarks/results/DATE-DEVICE.json`` with the machine and the commit.
"""

import argparse
import dataclasses
import datetime
import json
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from guidegym import DDIM, ClassEnergy, Constant, Guidance, Testbed, load_testbed, row_seeds, sample
from guidegym.diffusion import INITIAL, trajectory_noise

ROOT = Path(__file__).parent.parent
SCALE = 2.0
STEPS = [steps for steps in range(2, 501) if 1000 % steps == 0]
"""Numbers of steps that divide the training timesteps: at others diffusers' last strides differ from the true ones."""
GUIDE = ClassEnergy("time_dependent")
"""The default study's guide."""


def synchronise(device: torch.device) -> None:
    """Wait for the GPU, where there is one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time one call."""
    synchronise(device)
    began = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - began


def class_gradient(classify: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the wanted logits, in the fewest calls of torch that it takes."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        wanted = classify(leaf, t.float()).gather(1, labels[:, None])
        return torch.autograd.grad(wanted.sum(), leaf)[0]


def variants(testbed: Testbed, rows: int, steps: int, eta: float) -> dict[str, Callable[[], object]]:
    """Return the ways to make ``rows`` guided samples in ``steps`` steps, all with the same network calls."""
    device, sampler = testbed.device, DDIM(steps, eta=eta)
    labels = torch.arange(rows) % testbed.num_classes
    labels, classify = labels.to(device), testbed.classifiers[GUIDE.classifier]
    timesteps = sampler.timesteps(testbed.process)[:-1].to(device)
    x = trajectory_noise(
        row_seeds(0, rows).to(device),
        torch.zeros(rows, dtype=torch.long, device=device),
        testbed.event_shape,
        stream=INITIAL,
    )

    def networks_alone() -> None:
        for t in timesteps:
            step = t.expand(rows)
            with torch.no_grad():
                testbed.denoiser(x, step.float())
            class_gradient(classify, x, step, labels)

    def guidegym() -> Tensor:
        return sample(testbed, Guidance(GUIDE, Constant(SCALE)), labels=labels, sampler=sampler, batch_size=rows).x

    scheduler: Any = DDIMScheduler(beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing")

    def diffusers() -> Tensor:
        scheduler.set_timesteps(steps, device=device)
        now = x.clone()
        for t in scheduler.timesteps:
            step = t.expand(rows)
            with torch.no_grad():
                eps = testbed.denoiser(now, step.float())
            gradient = class_gradient(classify, now, step, labels)
            sigma = (1 - scheduler.alphas_cumprod[t]).sqrt()
            eps = eps - SCALE * sigma * gradient
            now = scheduler.step(eps, t, now, eta=eta, use_clipped_model_output=True).prev_sample
        return now

    return {"networks alone": networks_alone, "guidegym": guidegym, "diffusers": diffusers}


def measure_sampling(testbed: Testbed, *, rows: int, steps: int, eta: float, repeats: int) -> dict[str, Any]:
    """Time all variants in turn and compare them within each round."""
    runs = variants(testbed, rows, steps, eta)
    images = {name: run() for name, run in runs.items()}
    if eta == 0:  # the same pictures, or the comparison means nothing
        torch.testing.assert_close(images["guidegym"], images["diffusers"], rtol=1e-2, atol=1e-2)
    rounds = [{name: seconds(run, testbed.device) for name, run in runs.items()} for _ in range(repeats)]
    median = {name: statistics.median(one[name] for one in rounds) for name in runs}
    return {
        "rows": rows,
        "steps": steps,
        "eta": eta,
        "repeats": repeats,
        "median_seconds": {name: round(value, 4) for name, value in median.items()},
        "guided_step_ms_per_image": round(1000 * median["networks alone"] / rows / steps, 3),
        "guidegym_over_networks": round(statistics.median(r["guidegym"] / r["networks alone"] for r in rounds), 3),
        "guidegym_over_diffusers": round(statistics.median(r["guidegym"] / r["diffusers"] for r in rounds), 3),
    }


class Stopwatch:
    """Wraps a network and adds up the time of its calls."""

    def __init__(self, network: Callable[..., Tensor]) -> None:
        self.network, self.seconds = network, 0.0

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Call the network and add the time it took."""
        began = time.perf_counter()
        output = self.network(*arguments)
        self.seconds += time.perf_counter() - began
        return output


def measure_search(device: torch.device) -> dict[str, Any]:
    """Run the default search of the main job and say where its time goes (CPU only: the networks are timed as calls)."""
    import optuna

    from guidegym.search.loading import load_study
    from guidegym.search.tuning import RunSettings, run_study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    testbed = load_testbed("fashion", device=device)
    watch = Stopwatch(testbed.denoiser)
    spent = {"guide": 0.0, "evaluations": 0}
    inner = ClassEnergy.gradient

    def timed(self: ClassEnergy, *arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        result = inner(self, *arguments, **keywords)
        spent["guide"] += time.perf_counter() - began
        spent["evaluations"] += 2 * len(result.gradient)
        return result

    ClassEnergy.gradient = timed  # type: ignore[method-assign]
    calls: list[int] = []

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        calls.append(len(x))
        return watch(x, t)

    try:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            study = load_study("sigmoid_schedule")
            run_study(
                study,
                dataclasses.replace(testbed, denoiser=denoiser),
                RunSettings(study_name="benchmark", out=Path(folder) / "run"),
            )
            total = time.perf_counter() - began
    finally:
        ClassEnergy.gradient = inner  # type: ignore[method-assign]
    networks = watch.seconds + spent["guide"]
    return {
        "seconds": round(total, 1),
        "network_evaluations": sum(calls) + int(spent["evaluations"]),
        "share_outside_networks": round(1 - networks / total, 3),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Describe where this ran."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, choices=STEPS, metavar="N")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--search", action="store_true", help="time the default search, too (minutes)")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    testbed = load_testbed("fashion", device=device)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(device),
        "sampling": [
            measure_sampling(testbed, rows=arguments.rows, steps=arguments.steps, eta=eta, repeats=arguments.repeats)
            for eta in (0.0, 1.0)
        ],
    }
    if arguments.search:
        result["search"] = measure_search(device)
    path = ROOT / "benchmarks" / "results" / f"{result['date']}-{device.type}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
