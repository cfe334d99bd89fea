"""Embeddings learned from triplets mined in the batch."""

import functools
from typing import Any, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lab.losses import TripletLoss
from lab.losses.distances import Distance, pair_distances
from lab.losses.inputs import check_input
from lab.losses.reduction import in_float32
from lab.losses.tuples import balanced_pairs
from lab.metrics import EmbeddingMetrics, Evaluation
from lab.models.base import Batch, Family
from lab.models.ranks import of_all_ranks


class Triplet(Family):
    """One encoder f for all images, trained so that d(f(a), f(p)) + margin < d(f(a), f(n)) for p of a's class, n of another.

    Hoffer and Ailon, "Deep Metric Learning Using Triplet Network", 2015. The triplets are index tuples of the batch, so each
    image passes the encoder once however many triplets it is in; give the data ``samples_per_class`` so that there are any.

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D).
        loss: of embeddings (N, D) and labels (N,), those of pytorch-metric-learning too; None for ``TripletLoss()``. Its
            attribute ``distance``, Euclidean where it has none, is also the distance the embedding is scored by.
        optimizer: makes an optimizer of parameters.
        scheduler: makes a learning rate scheduler of an optimizer.
        evaluation: how the embedding is evaluated; None for the usual way.
    """

    monitor = "val/map@r"  # steadier than recall@1, which a small validation set only tells in coarse steps
    needs_pairs = True
    num_branches = 3  # anchor, positive and negative, for a diagram

    def __init__(
        self,
        encoder: nn.Module,
        loss: nn.Module | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.encoder = encoder
        self.loss = TripletLoss() if loss is None else loss
        check_input(self.loss, "embeddings", type(self).__name__)
        distance = _name_of(getattr(self.loss, "distance", "euclidean"))
        pair_distance = functools.partial(pair_distances, distance=distance)
        self.metrics = EmbeddingMetrics(balanced_pairs, pair_distance, distance, evaluation)

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (N, D) of images (N, C, H, W)."""
        embeddings: Tensor = self.encoder(images)
        return embeddings

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss over the triplets of the batch; while evaluating, collect the embeddings too."""
        images, labels = batch
        embeddings = self(images)
        if not self.training:
            self.metrics.update(embeddings, labels)
        with in_float32(embeddings) as embeddings:
            return self.loss_of(*of_all_ranks(self, embeddings, labels))

    def loss_of(self, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss over the triplets of embeddings (N, D) with labels (N,)."""
        return {"loss": self.loss(embeddings, labels)}


def _name_of(distance: Any) -> Distance:
    """Name the distance of a loss; pytorch-metric-learning gives an object, most of which scale embeddings to unit length.

    On these, cosine and Euclidean distance rank alike.
    """
    if isinstance(distance, str):
        if distance not in get_args(Distance):
            raise ValueError(f"model.loss: distance must be one of {', '.join(get_args(Distance))}, not {distance!r}")
        return "cosine" if distance == "cosine" else "euclidean"
    return "cosine" if getattr(distance, "normalize_embeddings", False) else "euclidean"
