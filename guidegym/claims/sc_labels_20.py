"""With 20 % of the labels, self-calibration on all data beats cross-entropy guidance."""

from guidegym.claims.sc_labels_5 import claim_at
from guidegym.reproduction.claim import Claim


def claim() -> Claim:
    """Return the claim."""
    return claim_at(20)
