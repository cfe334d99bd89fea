"""The squared error of class probabilities."""

from typing import Literal

import torch
from torch import Tensor, nn

from lab.losses.inputs import Input
from lab.losses.reduction import in_float32, mean


class SquaredError(nn.Module):
    """Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950: the squared error of the softmax.

    ``sum over c of (softmax(z)_c - [c is the label]) ** 2`` is the score of an image.

    Args:
        reduction: ``brier`` for the mean score of the images; ``sum`` or ``mean`` over images and classes alike, as those of
            ``torch.nn.MSELoss``: gradients are then as many times larger as there are images, or smaller as there are classes.
    """

    takes: Input = "logits"

    def __init__(self, reduction: Literal["brier", "sum", "mean"] = "brier") -> None:
        super().__init__()
        if reduction not in ("brier", "sum", "mean"):
            raise ValueError(f"SquaredError: reduction must be brier, sum or mean, not {reduction!r}")
        self.reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of logits (N, C) and labels (N,)."""
        with in_float32(logits) as logits:
            errors = (torch.softmax(logits, 1) - nn.functional.one_hot(labels, logits.shape[1])).square()
            if self.reduction == "sum":
                return errors.sum()
            return mean(errors.sum(1) if self.reduction == "brier" else errors.mean(1))
