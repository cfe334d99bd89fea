"""Classification by one branch that looks at every part of an image."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lab.losses.inputs import check_input
from lab.metrics import ClassificationMetrics
from lab.models.base import Batch, Family, embedding_size_of
from lab.models.classification import classification_step
from lab.nets.heads import ClassHead, class_head


class SplitImage(Family):
    """One encoder f for all parts x_1 .. x_P of an image: p(class | x) = softmax(W merge(f(x_1), .. f(x_P)) + b).

    Weight sharing over parts is that of LeCun et al., "Backpropagation Applied to Handwritten Zip Code Recognition", 1989.
    With a linear branch, sum and ``head: bias`` it is softmax(f(x_1) + f(x_2) + b): one weight matrix for both halves.

    Args:
        encoder: parts (N, C, H / rows, W / columns) to embeddings (N, D); D is its ``embedding_size``.
        num_classes: number of classes.
        rows: parts from top to bottom; divides the height.
        columns: parts from left to right; divides the width.
        merge: ``sum`` or ``mean`` of the parts' embeddings, or ``concatenate``, which keeps them apart.
        loss: of logits (N, num_classes) and labels (N,); None for cross-entropy.
        head: ``linear`` as above, ``unit_linear`` of what is merged scaled to length 1; ``bias`` without W, or ``none``
            without W and b, where merging gives ``num_classes`` values.
        optimizer: makes an optimizer of parameters.
        scheduler: makes a learning rate scheduler of an optimizer.
        embedding_size: D, for an encoder that does not say.
    """

    monitor = "val/accuracy"
    needs_known_classes = True

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        rows: int = 2,
        columns: int = 1,
        merge: Literal["sum", "mean", "concatenate"] = "sum",
        loss: nn.Module | None = None,
        head: ClassHead = "linear",
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        if min(rows, columns) < 1 or merge not in ("sum", "mean", "concatenate"):
            raise ValueError(
                f"SplitImage: rows {rows} and columns {columns} must be positive, and merge, {merge!r}, must be sum, mean or "
                "concatenate"
            )
        self.encoder = encoder
        self.rows, self.columns, self.merge = rows, columns, merge
        size = embedding_size_of(encoder, embedding_size)
        num_parts = rows * columns if merge == "concatenate" else 1
        self.head = class_head(head, size * num_parts, num_classes, num_parts)
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        check_input(self.loss, "logits", type(self).__name__)
        self.metrics = ClassificationMetrics()

    @property
    def num_branches(self) -> int:
        """How many parts the encoder is for, for a diagram."""
        return self.rows * self.columns

    @classmethod
    def encoder_image_shape(cls, image_shape: Sequence[int], settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape of one part."""
        channels, height, width = image_shape
        rows, columns = settings.get("rows", 2), settings.get("columns", 1)
        if not (0 < rows <= height and 0 < columns <= width):
            raise ValueError(f"model.rows {rows} and model.columns {columns} must divide the image, which is {height}x{width}")
        return channels, height // rows, width // columns

    def parts(self, images: Tensor) -> Tensor:
        """Cut images (N, C, H, W) into parts (N, rows * columns, C, H / rows, W / columns), row by row.

        Raises:
            ValueError: if the parts would not be equal.
        """
        num, channels, height, width = images.shape
        if height % self.rows or width % self.columns:
            raise ValueError(
                f"model.rows {self.rows} and model.columns {self.columns} must divide the image, which is {height}x{width}"
            )
        shape = (num, channels, self.rows, height // self.rows, self.columns, width // self.columns)
        return images.reshape(shape).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # in this order no copy, if there is one column

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        parts = self.parts(images)
        embeddings: Tensor = self.encoder(parts.flatten(0, 1)).unflatten(0, parts.shape[:2])
        if self.merge == "concatenate":
            merged = embeddings.flatten(1)
        else:
            merged = embeddings.sum(1) if self.merge == "sum" else embeddings.mean(1)
        logits: Tensor = self.head(merged)
        return logits

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and the share of images classified right."""
        return classification_step(self, self.loss, batch)
