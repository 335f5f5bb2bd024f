"""Measure what measuring costs: each metric at 10 000 images, and a whole evaluation against the sampling in it.

    python benchmarks/evaluation.py [--device cpu] [--per-class 1000] [--images 2000]

Each metric runs in a process of its own, as often as an evaluation computes it (once and on 200 resamples) and once alone; its
memory is the growth of the process' peak. Features are those of fashion's references, with noise. The peers are torch-fidelity
(Frechet distance, precision and recall) and prdc on the same features. The evaluations are those of
``python -m guidegym.evaluate`` on fashion, of no guidance (the cheapest samples) and of the likelihood's. The result goes to
``benchmarks/results/DATE-evaluation-DEVICE.json``.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from speed import machine

from guidegym import DDIM, Constant, Guidance, Likelihood, load_testbed
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.metrics import METRICS, measure_set
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.evaluate_methods import Plan, evaluate_methods
from guidegym.evaluation.sample_sets.named_methods import methods
from guidegym.testbeds import References

EVALUATED = {"unguided": Guidance(), "guided": Guidance(Likelihood("time_dependent"), Constant(4.0))}
PEERS = ("torch-fidelity frechet", "torch-fidelity precision and recall", "prdc all four")


def _set(per_class: int, device: torch.device) -> tuple[SampleSet, References]:
    """Return a made-up sample set near the references of fashion."""
    testbed = load_testbed("fashion", device=device)
    references, classes = testbed.references, testbed.num_classes
    generator = torch.Generator().manual_seed(0)
    real = references.features[:, torch.arange(per_class) % references.features.shape[1]].transpose(0, 1).flatten(0, 1)
    features = real + 0.3 * torch.randn(real.shape, generator=generator).to(device)
    assert references.spatial is not None
    rows, places = per_class * classes, len(references.spatial[0])
    (method,) = methods(["unguided"], DDIM(15))
    return SampleSet(
        method=method,
        features=features,
        logits=torch.randn(rows, classes, generator=generator).to(device),
        spatial=torch.randn(rows, places, generator=generator).to(device),
        hits=torch.rand(rows, 4, generator=generator).to(device) < 0.9,
        divergence=torch.rand(rows, generator=generator).to(device),
        failed=torch.zeros(rows, dtype=torch.bool, device=device),
        evaluations=torch.zeros(rows, 4, dtype=torch.long),
        shown=torch.zeros(0),
        num_classes=classes,
    ), references


def _peer(name: str, own: SampleSet, references: References) -> Callable[[], object]:
    """Return a peer's function on the same features."""
    rows = own.features.double().cpu()
    real = references.features[:, : len(rows) // len(references.features)].flatten(0, 1).double().cpu()
    if name == "torch-fidelity frechet":
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        wanted = fid_features_to_statistics(real)
        return lambda: fid_statistics_to_metric(fid_features_to_statistics(rows), wanted, verbose=False)
    if name == "prdc all four":
        import prdc

        return lambda: prdc.compute_prdc(real.numpy(), rows.numpy(), nearest_k=5)
    from torch_fidelity.metric_prc import prc_features_to_metric

    return lambda: prc_features_to_metric(
        rows, real, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, verbose=False
    )


def _measure(name: str, per_class: int, device: str, threads: int, pipe: Any) -> None:
    """Measure one metric or peer, in a process of its own."""
    torch.set_num_threads(threads)
    own, references = _set(per_class, torch.device(device))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, float] = {}
    runs: dict[str, Callable[[], object]] = {"with 200 resamples": lambda: measure_set(own, references, [name])}
    once = torch.ones(1, own.num_classes, per_class, dtype=torch.float64)
    runs["alone"] = lambda: METRICS[name].family(own, references, once)
    for what, run in (runs if name in METRICS else {"alone": _peer(name, own, references)}).items():
        began = time.perf_counter()
        run()
        found[f"images a second, {what}"] = len(own.features) / (time.perf_counter() - began)
    found["peak memory, MiB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pipe.send(found)


def _apart(name: str, per_class: int, device: str) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(name, per_class, device, torch.get_num_threads(), theirs))
    process.start()
    theirs.close()  # so that a process that failed is not waited for
    found: dict[str, float] = ours.recv()
    process.join()
    print(name, {key: round(value, 1) for key, value in found.items()}, flush=True)
    return found


def _evaluation(guidance: Guidance, images: int, device: torch.device) -> dict[str, float]:
    """Time a whole evaluation of one method, and the sampling in it."""
    testbed = load_testbed("fashion", device=device)
    candidates = [Method("method", guidance, DDIM(15, eta=1.0))]
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection(
            testbed,
            judge_extractor(testbed),
            per_class=images // testbed.num_classes,
            seed=0,
            energy="robust",
            folder=Path(folder) / "chunks",
        )
        began = time.perf_counter()
        results = evaluate_methods(candidates, collection, Plan(), out=Path(folder))
        whole = time.perf_counter() - began
    assert results is not None
    sampling = results[0].seconds_per_1000 * images / 1000
    return {"images": images, "seconds": whole, "sampling seconds": sampling, "rest of sampling": whole / sampling - 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    device = torch.device(arguments.device)
    measured = {name: _apart(name, arguments.per_class, arguments.device) for name in (*METRICS, *PEERS)}
    whole = {name: _evaluation(guidance, arguments.images, device) for name, guidance in EVALUATED.items()}
    print(whole)
    result = {"machine": machine(device), "images": 10 * arguments.per_class, "metrics": measured, "evaluation": whole}
    path = Path(__file__).parent / "results" / f"{datetime.now(UTC).date()}-evaluation-{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
