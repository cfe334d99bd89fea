"""Verification scores: how well a distance tells same-class pairs from different-class pairs."""

from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_eer


def similarity(distances: Tensor) -> Tensor:
    """Map distances in [0, inf) to (0, 1], nearer being higher, the range in which torchmetrics leaves scores alone."""
    return 1.0 / (1.0 + distances)


def area_under_roc(distances: Tensor, same: Tensor) -> Tensor:
    """Return the probability that a same-class pair is nearer than a different-class pair, ties counting half.

    Args:
        distances: (M,), not negative; same: bool (M,).
    """
    return binary_auroc(similarity(distances), same.long())


def equal_error_rate(distances: Tensor, same: Tensor) -> Tensor:
    """Return the error rate at the threshold where false matches and false non-matches are equally frequent.

    Args:
        distances: (M,), not negative; same: bool (M,).
    """
    return binary_eer(similarity(distances), same.long())
