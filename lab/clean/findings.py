"""What was found: which labels are suspicious, as tables, as a picture and, where the truth is known, as scores."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lab import plots
from lab.clean.turns import Judged
from lab.data import ImageDataModule
from lab.data.left_out import fingerprint
from lab.metrics.label_errors import detection_scores, label_losses, ranking, suspected

NUM_DRAWN = 50


@dataclass(frozen=True)
class Findings:
    """Which labels of N training images are suspicious.

    Args:
        data: set up.
        judged: what is said of the images.
        losses: of the labels, float64 (N,).
        suggested: what each image should be, int64 (N,).
        suspicious: bool (N,).
    """

    data: ImageDataModule
    judged: Judged
    losses: Tensor
    suggested: Tensor
    suspicious: Tensor

    @property
    def labels(self) -> Tensor:
        """The labels as they are given, int64 (N,)."""
        return self.data.splits["train"].labels

    @property
    def true_labels(self) -> Tensor | None:
        """The true ones, where wrong ones were made on purpose."""
        return self.data.true_labels if self.data.label_noise else None

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the label that they have."""
        return (self.judged.probabilities.argmax(1) == self.labels).double().mean().item()

    def order(self, suspicious_alone: bool) -> Tensor:
        """Return the positions of images by their loss, the highest first: of all of them, or of those that are suspicious."""
        order = ranking(self.losses)
        return order[self.suspicious[order]] if suspicious_alone else order

    def columns(self) -> list[str]:
        """Name the columns of the tables."""
        more = ["file"] * hasattr(self.data, "training_pictures") + ["true"] * (self.true_labels is not None)
        return ["position", "label", "suggested", "loss", "probability", "fold", "image", *more]

    def rows(self, order: Tensor) -> Iterator[list[Any]]:
        """List what is known of the images at these positions."""
        names, labels, true_labels = self.data.class_names, self.labels.tolist(), self.true_labels
        train = self.data.splits["train"]
        files: list[Path] | None = self.data.training_pictures() if hasattr(self.data, "training_pictures") else None
        own = self.judged.probabilities.gather(1, self.labels.unsqueeze(1)).squeeze(1)
        for place in order.tolist():
            row = [place, names[labels[place]], names[self.suggested[place]], f"{self.losses[place].item():.6f}"]
            row += [f"{own[place].item():.6g}", int(self.judged.folds[place]) + 1, fingerprint(train[place][0])]
            row += [] if files is None else [os.fsencode(files[place]).decode("utf-8", "replace")]
            yield row if true_labels is None else [*row, names[true_labels[place]]]

    def scores(self) -> dict[str, float] | None:
        """Return how well wrong labels were found, where the true ones are known."""
        if self.true_labels is None:
            return None
        return detection_scores(self.suspicious, self.losses, self.true_labels != self.labels)

    def figure(self) -> Figure:
        """Draw the most suspicious images."""
        positions, total = self.order(suspicious_alone=True)[:NUM_DRAWN], int(self.suspicious.sum())
        images = self.data.splits["train"][positions][0] / 255
        chosen = (self.labels[positions], self.suggested[positions], self.losses[positions])
        true_labels = None if self.true_labels is None else self.true_labels[positions]
        return plots.suspicious_labels(images, *chosen, self.data.class_names, total, true_labels)


def findings(data: ImageDataModule, judged: Judged, num: int | None) -> Findings:
    """Find suspicious labels: the ``num`` of highest loss, or, where None is given, as many as are estimated to be wrong."""
    labels = data.splits["train"].labels
    losses = label_losses(judged.probabilities, labels)
    flagged, suggested = suspected(judged.probabilities, labels)
    if num is not None:
        flagged = torch.zeros_like(flagged)
        flagged[ranking(losses)[:num]] = True
    return Findings(data, judged, losses, suggested, flagged)
