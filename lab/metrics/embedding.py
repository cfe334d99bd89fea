"""The scores of an embedding on one split, as one torchmetrics metric."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lab.metrics.retrieval import map_at_r, nearest_neighbor_accuracy, recall_at_1
from lab.metrics.verification import area_under_roc, equal_error_rate

Distance = Literal["euclidean", "cosine"]
PairDraw = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor, Tensor]]


class EmbeddingMetrics(Metric):
    """Collects embeddings over batches and ranks and scores them at the end.

    ``recall@1`` and ``map@r`` search within the split, ``auc`` and ``eer`` are verification on balanced pairs drawn from it,
    and ``nearest_neighbor_accuracy`` looks each image up in the gallery, where one was given.

    Args:
        draw_pairs: draws balanced pairs from labels, a number and a generator; returns positions and same or not.
        distance: ``euclidean`` or ``cosine``. Both rank alike on unit vectors, so cosine scales the embeddings to them.
        num_pairs: pairs drawn for ``auc`` and ``eer``, always by the same generator.
    """

    full_state_update = False
    embeddings: list[Tensor]
    labels: list[Tensor]
    gallery: list[Tensor]
    gallery_labels: list[Tensor]

    def __init__(self, draw_pairs: PairDraw, distance: Distance = "euclidean", num_pairs: int = 20_000) -> None:
        super().__init__()
        if distance not in get_args(Distance):
            raise ValueError(f"distance must be one of {', '.join(get_args(Distance))}, not {distance!r}")
        self.draw_pairs = draw_pairs
        self.distance = distance
        self.num_pairs = num_pairs
        for state in ("embeddings", "labels", "gallery", "gallery_labels"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor, in_gallery: bool = False) -> None:
        """Add embeddings (N, D) with labels (N,) to the images that are scored, or to the gallery they are looked up in."""
        embeddings = embeddings.detach().float()
        if self.distance == "cosine":
            embeddings = torch.nn.functional.normalize(embeddings, dim=1)
        (self.gallery if in_gallery else self.embeddings).append(embeddings)
        (self.gallery_labels if in_gallery else self.labels).append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Return each score, a scalar in [0, 1], by name; NaN where the split cannot have it or an embedding is not finite."""
        embeddings, labels = dim_zero_cat(self.embeddings), dim_zero_cat(self.labels)
        not_defined = torch.tensor(torch.nan, device=embeddings.device)
        if not all(part.isfinite().all() for part in (*self.embeddings, *self.gallery)):
            names = ["recall@1", "map@r", "auc", "eer"] + ["nearest_neighbor_accuracy"] * bool(len(self.gallery))
            return dict.fromkeys(names, not_defined)
        scores = {"recall@1": recall_at_1(embeddings, labels), "map@r": map_at_r(embeddings, labels)}
        first, second, same = self.draw_pairs(labels, self.num_pairs, torch.Generator().manual_seed(0))
        distances = torch.linalg.vector_norm(embeddings[first] - embeddings[second], dim=1)
        scores["auc"] = area_under_roc(distances, same) if len(same) else not_defined
        scores["eer"] = equal_error_rate(distances, same) if len(same) else not_defined
        if len(self.gallery):  # a list, or one tensor of all ranks
            gallery, gallery_labels = dim_zero_cat(self.gallery), dim_zero_cat(self.gallery_labels)
            scores["nearest_neighbor_accuracy"] = nearest_neighbor_accuracy(embeddings, labels, gallery, gallery_labels)
        return scores
