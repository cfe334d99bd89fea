"""The scores of class predictions on one split."""

import torch
from torch import Tensor

from lab.metrics.bootstrap import intervals
from lab.metrics.collected import Collected, Part, Results


class ClassificationMetrics(Collected):
    """Collects logits, and scores what a mean over images would not tell; the accuracy itself is such a mean.

    ``balanced_accuracy`` is the mean over classes of the share of a class's images that are recognised.
    """

    def update(self, outputs: Tensor, labels: Tensor, part: Part = "images") -> None:
        """Add logits (N, C) with labels (N,); of the gallery, only the class that is predicted is kept."""
        super().update(outputs if part == "images" else outputs.argmax(1), labels, part)

    def compute(self) -> dict[str, Tensor]:
        """Return ``balanced_accuracy``, a scalar in [0, 1]."""
        logits, labels = self.collected("images")
        assert logits is not None and labels is not None
        hits, classes = (logits.argmax(1) == labels).cpu(), labels.cpu()
        if self.thorough:
            gallery, gallery_labels = self.collected("gallery")
            self.results = Results(logits, labels, gallery, gallery_labels)
            self.results.intervals = intervals(len(hits), lambda weights: _accuracies(hits, classes, weights), len(hits))
        return {"balanced_accuracy": _accuracies(hits, classes, torch.ones(1, len(hits)))["balanced_accuracy"][0].to(logits)}


def _accuracies(hits: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Return both accuracies (R,) of hits (N,), counted by weights (R, N)."""
    empty = weights.new_zeros(len(weights), int(labels.max()) + 1)
    seen, recognised = (empty.index_add(1, labels, counted) for counted in (weights, weights * hits))
    return {
        "accuracy": recognised.sum(1) / seen.sum(1),
        "balanced_accuracy": (recognised / seen).nanmean(1),  # of the classes that there are
    }
