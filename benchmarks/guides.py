"""Measure what each guide costs on fashion, in network evaluations and in seconds, beside likelihood and no guidance.

    python benchmarks/guides.py [--device cpu] [--rows 64] [--steps 10] [--repeats 5]

All methods take turns within each round, and ratios are taken within a round: a machine that is slow for a while is slow for
all of them. The result goes to ``benchmarks/results/DATE-guides-DEVICE.json``.
"""

import argparse
import functools
import json
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from speed import machine, seconds

from guidegym import (
    DDIM,
    Accumulated,
    AtClean,
    ClassEnergy,
    ClassifierFree,
    ClassifierScore,
    ConditionalDenoiser,
    Constant,
    EnergyDivergence,
    EntropyScaled,
    Guidance,
    JointEnergy,
    Likelihood,
    LookAhead,
    Momentum,
    Normalised,
    Similarity,
    load_testbed,
    rate_of_gamma,
    sample,
)

WEIGHT, NAME = Constant(2.0), "time_dependent"
PLAIN = Likelihood(NAME)
METHODS = {
    "unguided": Guidance(),
    "likelihood": Guidance(PLAIN, WEIGHT),
    "progressive": Guidance(PLAIN, WEIGHT, rate=Constant(rate_of_gamma(0.04)), target=Similarity()),
    "class energy": Guidance(ClassEnergy(NAME), WEIGHT),
    "joint energy": Guidance(JointEnergy(NAME), WEIGHT),
    "energy divergence": Guidance(EnergyDivergence(NAME), WEIGHT),
    "entropy scaled": Guidance(EntropyScaled(PLAIN), WEIGHT),
    "normalised": Guidance(Normalised(PLAIN), WEIGHT),
    "momentum": Guidance(Momentum(PLAIN), WEIGHT),
    "look-ahead, 4 steps": Guidance(LookAhead(PLAIN, num_steps=4), WEIGHT),
    "accumulated, 4 gradients": Guidance(Accumulated(PLAIN, num_steps=4), WEIGHT),
    "at the clean estimate": Guidance(AtClean(PLAIN), WEIGHT),
    "the same, no Jacobian": Guidance(AtClean(PLAIN, jacobian=False), WEIGHT),
    "classifier-free": Guidance(ClassifierFree(), WEIGHT, base_model=ConditionalDenoiser()),
    "classifier only": Guidance(base_model=ClassifierScore(NAME, conditional=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    testbed, sampler = load_testbed("fashion", device=device), DDIM(arguments.steps, eta=1.0)
    labels = [row % 10 for row in range(arguments.rows)]

    def run(name: str) -> Any:
        return sample(testbed, METHODS[name], labels=labels, sampler=sampler, batch_size=arguments.rows)

    evaluations = {name: run(name).cost.total / arguments.rows / arguments.steps for name in METHODS}
    rounds = [
        {name: seconds(functools.partial(run, name), device) for name in METHODS} for _ in range(arguments.repeats)
    ]
    table: dict[str, dict[str, float]] = {}
    for name in METHODS:
        table[name] = {
            "evaluations_per_step": evaluations[name],
            "ms_per_image_step": round(
                1000 * statistics.median(one[name] for one in rounds) / arguments.rows / arguments.steps, 3
            ),
            "over_likelihood": round(statistics.median(one[name] / one["likelihood"] for one in rounds), 3),
            "over_unguided": round(statistics.median(one[name] / one["unguided"] for one in rounds), 3),
        }
        print(f"{name:28s}", table[name])
    date = datetime.now(tz=UTC).date().isoformat()
    content = {
        "date": date,
        "machine": machine(device),
        "rows": arguments.rows,
        "steps": arguments.steps,
        "repeats": arguments.repeats,
        "methods": table,
    }
    out = Path(__file__).parent / "results" / f"{date}-guides-{device.type}.json"
    out.write_text(json.dumps(content, indent=2) + "\n")
    print(out)


if __name__ == "__main__":
    main()
