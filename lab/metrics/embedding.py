"""The scores of an embedding on one split, as one torchmetrics metric."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lab.metrics.averages import ExactMetric
from lab.metrics.retrieval import map_at_r, nearest_neighbor_accuracy, recall_at_1
from lab.metrics.verification import area_under_roc, best_threshold, equal_error_rate, pair_accuracy

PairDraw = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor, Tensor]]
PairDistance = Callable[[Tensor, Tensor], Tensor]
MAX_CHUNK_ELEMENTS = 2**24


class EmbeddingMetrics(ExactMetric):
    """Collects embeddings over batches and ranks and scores them at the end.

    ``recall@1`` and ``map@r`` search within the split, and ``nearest_neighbor_accuracy`` looks each image up in the gallery,
    where one was given. ``auc``, ``eer`` and ``pair_accuracy`` are verification on balanced pairs drawn from the split: a
    pair is called the same up to the ``threshold``, which is set from the pairs of a split on which ``calibrating`` is on,
    the validation split, and kept with the weights of the model.

    Args:
        draw_pairs: draws balanced pairs from labels, a number and a generator; returns positions and same or not.
        pair_distance: distances (M,) of embeddings (M, D) to those (M, D) beside them.
        search: what the images are searched by: ``euclidean``, ``cosine``, or None where they cannot be, as where the
            distance is learned.
        num_pairs: pairs drawn for verification, always by the same generator.
    """

    full_state_update = False
    embeddings: list[Tensor]
    labels: list[Tensor]
    gallery: list[Tensor]
    gallery_labels: list[Tensor]
    threshold: Tensor

    def __init__(
        self, draw_pairs: PairDraw, pair_distance: PairDistance, search: str | None = "euclidean", num_pairs: int = 20_000
    ) -> None:
        super().__init__()
        if search not in ("euclidean", "cosine", None):
            raise ValueError(f"images are searched by euclidean or cosine distance, not by {search!r}")
        self.draw_pairs = draw_pairs
        self.pair_distance = pair_distance
        self.search = search
        self.num_pairs = num_pairs
        self.calibrating = False
        self.register_buffer("threshold", torch.tensor(torch.nan))
        for state in ("embeddings", "labels", "gallery", "gallery_labels"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor, in_gallery: bool = False) -> None:
        """Add embeddings (N, D) with labels (N,) to the images that are scored, or to the gallery they are looked up in."""
        (self.gallery if in_gallery else self.embeddings).append(embeddings.detach().float())
        (self.gallery_labels if in_gallery else self.labels).append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Return each score, a scalar in [0, 1], by name; NaN where the split cannot have it or an embedding is not finite."""
        embeddings, labels = dim_zero_cat(self.embeddings), dim_zero_cat(self.labels)
        gallery = dim_zero_cat(self.gallery) if len(self.gallery) else None  # a list, or one tensor of all ranks
        if not embeddings.isfinite().all() or (gallery is not None and not gallery.isfinite().all()):
            names = ["recall@1", "map@r"] + ["nearest_neighbor_accuracy"] * (gallery is not None) if self.search else []
            return dict.fromkeys([*names, "auc", "eer", "pair_accuracy"], embeddings.new_tensor(torch.nan))
        scores = self._verify(embeddings, labels)
        if self.search is not None:
            embeddings = self._to_search(embeddings)
            scores |= {"recall@1": recall_at_1(embeddings, labels), "map@r": map_at_r(embeddings, labels)}
        if self.search is not None and gallery is not None:
            gallery, gallery_labels = self._to_search(gallery), dim_zero_cat(self.gallery_labels)
            scores["nearest_neighbor_accuracy"] = nearest_neighbor_accuracy(embeddings, labels, gallery, gallery_labels)
        return scores

    def _verify(self, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
        first, second, same = self.draw_pairs(labels, self.num_pairs, torch.Generator().manual_seed(0))
        if len(same) == 0:
            return dict.fromkeys(["auc", "eer", "pair_accuracy"], embeddings.new_tensor(torch.nan))
        chunks = range(0, len(same), max(1, MAX_CHUNK_ELEMENTS // embeddings.shape[1]))
        parts = [slice(start, start + chunks.step) for start in chunks]
        distances = torch.cat([self.pair_distance(embeddings[first[part]], embeddings[second[part]]) for part in parts]).float()
        if self.calibrating:
            self.threshold.copy_(best_threshold(distances, same))
        accuracy = pair_accuracy(distances, same, self.threshold)
        scores = {"auc": area_under_roc(distances, same), "eer": equal_error_rate(distances, same)}
        return {**scores, "pair_accuracy": accuracy if self.threshold.isfinite() else embeddings.new_tensor(torch.nan)}

    def _to_search(self, embeddings: Tensor) -> Tensor:
        """Scale to unit length for cosine, which ranks alike as Euclidean distance then."""
        return torch.nn.functional.normalize(embeddings, dim=1) if self.search == "cosine" else embeddings
