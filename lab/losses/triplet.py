"""The triplet loss over tuples mined from the batch."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lab.losses.distances import Distance, pairwise_distances
from lab.losses.inputs import Input
from lab.losses.reduction import in_float32
from lab.losses.tuples import all_triplets, batch_hard_triplets, entries, semi_hard_triplets

Mining = Literal["batch_hard", "semi_hard", "all"]
Reduction = Literal["mean", "mean_nonzero"]


class TripletLoss(nn.Module):
    """Hoffer and Ailon (2015), Schroff et al. (2015), Hermans et al. (2017): positives nearer than negatives.

    With d_p the distance of an anchor to a positive and d_n to a negative, the loss is the mean over the mined triplets of
    ``max(0, margin + d_p - d_n)``, or with a soft margin of ``log(1 + exp(d_p - d_n))``.

    Args:
        distance: ``euclidean`` (not squared) or ``cosine`` (1 - cosine similarity).
        mining: ``batch_hard`` (farthest positive and nearest negative of each anchor), ``semi_hard`` (negatives beyond
            the positive, inside the margin) or ``all``.
        margin: a positive number, or ``soft``.
        reduction: ``mean`` over all mined triplets, or ``mean_nonzero`` over those with a loss above 0, which keeps the
            gradient from fading as triplets get satisfied (Hermans et al., section 2).
    """

    takes: Input = "embeddings"

    def __init__(
        self,
        distance: Distance = "euclidean",
        mining: Mining = "batch_hard",
        margin: float | Literal["soft"] = "soft",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        choices: tuple[tuple[str, str, Any], ...] = (
            ("distance", distance, Distance),
            ("mining", mining, Mining),
            ("reduction", reduction, Reduction),
        )
        for name, value, allowed in choices:
            if value not in get_args(allowed):
                raise ValueError(f"TripletLoss: {name} must be one of {', '.join(get_args(allowed))}, not {value!r}")
        if margin != "soft" and (isinstance(margin, str) or not margin > 0):
            raise ValueError(f"TripletLoss: margin must be a positive number or 'soft', not {margin!r}")
        if mining == "semi_hard" and isinstance(margin, str):
            raise ValueError("TripletLoss: mining 'semi_hard' picks negatives inside the margin, so margin must be a number")
        self.distance = distance
        self.mining = mining
        self.margin = margin
        self.reduction = reduction

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar of at least float32 precision, of embeddings (N, D) with labels (N,).

        A batch without a single triplet gives 0, still connected to the embeddings.
        """
        with in_float32(embeddings) as embeddings:
            distances = pairwise_distances(embeddings, self.distance)
            anchor, positive, negative = self.mine(distances.detach(), labels)
            gap = entries(distances, anchor, positive) - entries(distances, anchor, negative)
            losses = nn.functional.softplus(gap) if isinstance(self.margin, str) else (gap + self.margin).clamp(min=0)
            counted = losses > 0 if self.reduction == "mean_nonzero" else torch.ones_like(losses)
            return losses.sum() / counted.sum().clamp(min=1)

    def mine(self, distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose triplets (anchor, positive, negative) from distances (N, N) and labels (N,)."""
        if self.mining == "batch_hard":
            return batch_hard_triplets(distances, labels)
        if self.mining == "semi_hard":
            assert not isinstance(self.margin, str)
            return semi_hard_triplets(distances, labels, self.margin)
        return all_triplets(labels)
