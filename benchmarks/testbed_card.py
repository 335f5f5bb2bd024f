"""Measure the fashion testbed: the figures and the picture of its card in ``docs/testbeds.md``.

python benchmarks/testbed_card.py [--data DIR] [--weights DIR] [--device cpu]
"""

import argparse
import json
from pathlib import Path

import torch
from tqdm import tqdm

from guidegym import DDIM, Testbed, load_testbed, sample
from guidegym.metrics import frechet_distance, moments
from guidegym.networks.weights import read_metadata
from guidegym.report.pictures import sample_picture
from guidegym.testbeds import seen_by
from guidegym.testbeds.fashion import FASHION
from guidegym.testbeds.fashion_data import load_fashion_mnist
from guidegym.testbeds.image_data import to_unit_range

ROOT = Path(__file__).parent.parent
NUM = 1000
STEPS = 50


def unguided(testbed: Testbed, eta: float) -> tuple[float, bytes]:
    """Return the Frechet distance of unguided samples, and a picture of the first of them by the judge's class."""
    with tqdm(total=NUM * STEPS, desc=f"eta {eta}") as bar:
        x = sample(testbed, labels=[0] * NUM, seed=1, sampler=DDIM(STEPS, eta=eta), on_rows=bar.update).x
    features = seen_by(testbed.judge, x).features
    with torch.no_grad():
        labels = testbed.judge.classify(features).argmax(dim=1)
    picture = sample_picture(x, labels, testbed.class_names, columns=12, title=f"unguided, DDIM({STEPS}, eta={eta})")
    return frechet_distance(*moments(features), *testbed.references.pooled), picture


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path, default=FASHION.shipped)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    testbed = load_testbed("fashion", device=arguments.device, weights=arguments.weights)
    data = load_fashion_mnist(arguments.data)
    real = seen_by(testbed.judge, to_unit_range(data.test_images[:NUM]).to(testbed.device)).features
    card = {"frechet_real_test": frechet_distance(*moments(real), *testbed.references.pooled)}
    for eta in (0.0, 1.0):
        card[f"frechet_unguided_eta{eta:g}"], picture = unguided(testbed, eta)
        (ROOT / "docs" / f"fashion-unguided-eta{eta:g}.png").write_bytes(picture)
    networks = {
        path.stem: read_metadata(path)["training"]
        for path in sorted(arguments.weights.glob("*.safetensors"))
        if path.stem != "references"
    }
    result = {**{key: round(value, 3) for key, value in card.items()}, "num": NUM, "steps": STEPS, "networks": networks}
    path = ROOT / "benchmarks" / "results" / "fashion-card.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
