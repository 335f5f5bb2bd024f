"""At matched Frechet distance, progressive guidance is more robust."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain, progressive
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    ours, theirs = progressive(lab), plain(lab)
    # As the paper does: progressive guidance at its best, and plain guidance at the weight whose distance is nearest to it.
    weight = lab.best_weight(ours, metric="frechet", name="progressive")
    wanted = lab.tuning({"progressive": ours(weight)}, "frechet")["progressive"]
    found = lab.tuning({f"{one:g}": theirs(one) for one in lab.weights}, "frechet")
    matched = float(min(found, key=lambda name: abs(found[name] - wanted)))
    methods = {f"progressive, w={weight:g}": ours(weight), f"plain, w={matched:g}": theirs(matched)}
    first, second = lab.measured(methods, ["robustness", "frechet"]).values()
    return Effect.more(first["robustness"], second["robustness"])


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="prog_robustness",
        paper="Dinh et al. 2023",
        place="Table 2",
        says="At matched Frechet distance, progressive guidance has the higher robustness@1.",
        effect="robustness@1 of progressive guidance less that of plain guidance at the weight of the nearest Frechet distance",
        run=_run,
    )
