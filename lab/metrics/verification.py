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


def best_threshold(distances: Tensor, same: Tensor) -> Tensor:
    """Return the distance up to which pairs are best called the same: it makes the fewest errors on these pairs.

    It lies halfway between two distances that occur; of several that are equally good, the smallest.

    Args:
        distances: (M,), M >= 1; same: bool (M,).
    """
    values, order = distances.sort()
    right = torch.where(same[order], 1, -1).cumsum(0)  # against calling all different, when the first so many are called same
    right[:-1][values[:-1] == values[1:]] = -len(values)  # equal distances are not told apart
    count = int(right.argmax())
    if right[count] <= 0:
        return values[0] - 1.0
    return (values[count] + values[count + 1]) / 2 if count + 1 < len(values) else values[count] + 1.0


def pair_accuracy(distances: Tensor, same: Tensor, threshold: Tensor) -> Tensor:
    """Return the share of pairs told right by calling those up to the threshold the same.

    Args:
        distances: (M,); same: bool (M,); threshold: scalar.
    """
    return ((distances <= threshold) == same).float().mean()
