"""Verification scores: how well a distance tells same-class pairs from different-class pairs."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_eer


def similarity(distances: Tensor) -> Tensor:
    """Map distances (M,) to (0, 1], the range in which torchmetrics leaves scores alone: nearer is higher, ties stay ties."""
    rank: Tensor = torch.unique(distances, return_inverse=True)[1]
    return 1.0 - rank.double() / len(distances)


def area_under_roc(distances: Tensor, same: Tensor) -> Tensor:
    """Return the probability that a same-class pair is nearer than a different-class pair, ties counting half.

    Args:
        distances: (M,); same: bool (M,).
    """
    return binary_auroc(similarity(distances), same.long())


def equal_error_rate(distances: Tensor, same: Tensor) -> Tensor:
    """Return the error rate at the threshold where false matches and false non-matches are equally frequent.

    Args:
        distances: (M,); same: bool (M,).
    """
    return binary_eer(similarity(distances), same.long())
