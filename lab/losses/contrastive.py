"""Losses on the distances of pairs that move same-class pairs together and different-class pairs apart."""

import torch
from torch import Tensor, nn

from lab.losses.inputs import Input
from lab.losses.reduction import in_float32, mean


class ContrastiveLoss(nn.Module):
    """Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006, equation 4, times two.

    With d the distance of a pair: ``d ** 2`` where it is of the same class, ``max(0, margin - d) ** 2`` where it is not; the
    mean over pairs. (The paper halves both and writes 0 for same.)

    Args:
        margin: distance beyond which a different-class pair is left alone, positive.
    """

    takes: Input = "pair_distances"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        if not margin > 0:
            raise ValueError(f"ContrastiveLoss: margin must be positive, not {margin}")
        self.margin = margin

    def forward(self, distances: Tensor, same: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of distances (M,) of pairs; same (M,) is 1 for a same-class pair, else 0."""
        with in_float32(distances) as distances:
            pull = distances.square()
            push = (self.margin - distances).clamp(min=0).square()
            return mean(torch.where(same.bool(), pull, push))


class ExponentialLoss(nn.Module):
    """Chopra, Hadsell and LeCun, "Learning a Similarity Metric Discriminatively", 2005, equation 8.

    With E the distance of a pair: ``(2 / Q) * E ** 2`` where it is of the same class, ``2 * Q * exp(-2.77 * E / Q)`` where
    it is not; the mean over pairs. (The paper writes 0 for same.)

    Args:
        constant: Q, positive; in the paper the upper bound of E.
    """

    takes: Input = "pair_distances"

    def __init__(self, constant: float = 1.0) -> None:
        super().__init__()
        if not constant > 0:
            raise ValueError(f"ExponentialLoss: constant must be positive, not {constant}")
        self.constant = constant

    def forward(self, distances: Tensor, same: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of distances (M,) of pairs; same (M,) is 1 for a same-class pair, else 0."""
        with in_float32(distances) as distances:
            pull = 2 / self.constant * distances.square()
            push = 2 * self.constant * torch.exp(-2.77 / self.constant * distances)
            return mean(torch.where(same.bool(), pull, push))


class PairCrossEntropy(nn.Module):
    """Binary cross-entropy of pair logits: Koch, Zemel and Salakhutdinov, "Siamese Neural Networks for One-shot ...", 2015.

    ``-log p`` where a pair is of the same class and ``-log(1 - p)`` where it is not, p being the sigmoid of its logit; the
    mean over pairs.
    """

    takes: Input = "pair_logits"

    def forward(self, logits: Tensor, same: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of logits (M,) of pairs; same (M,) is 1 for a same-class pair, else 0."""
        with in_float32(logits) as logits:
            return mean(nn.functional.binary_cross_entropy_with_logits(logits, same.to(logits.dtype), reduction="none"))
