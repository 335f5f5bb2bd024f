"""With 5 % of the labels, self-calibration on all data beats cross-entropy guidance."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain
from guidegym.reproduction.lab import Lab


def claim_at(percent: int) -> Claim:
    """Return the claim for a share of the labels."""
    calibrated, vanilla = f"self_calibrated_all-{percent}", f"time_dependent-{percent}"

    def run(lab: Lab) -> Effect:
        ours, theirs = lab.compare_best(
            plain(lab, calibrated), plain(lab, vanilla), ("self-calibrated", "CE"), "intra_frechet", tune_on="intra_kid"
        )
        return Effect.less(ours, theirs)

    return Claim(
        name=f"sc_labels_{percent}",
        paper="CG-SC",
        place="Table 2",
        says=f"With {percent} % of the labels, a classifier self-calibrated on all data guides better than cross-entropy's.",
        effect="intra-Frechet distance with the cross-entropy guide less that with the self-calibrated; weights by intra-KID",
        run=run,
        classifiers=(calibrated, vanilla),
        calibrated=(calibrated,),
        alike=(calibrated, vanilla),
    )


def claim() -> Claim:
    """Return the claim."""
    return claim_at(5)
