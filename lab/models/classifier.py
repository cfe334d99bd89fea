"""Classification by a linear layer on an embedding."""

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lab.losses.inputs import check_input
from lab.models.base import Batch, Family


class Classifier(Family):
    """Softmax regression on the encoder: p(class | x) = softmax(W f(x) + b), trained by cross-entropy.

    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D); D is its ``embedding_size``.
        num_classes: number of classes.
        loss: of logits (N, num_classes) and labels (N,); None for cross-entropy.
        optimizer: makes an optimizer of parameters.
        scheduler: makes a learning rate scheduler of an optimizer.
        embedding_size: D, for an encoder that does not say.
    """

    monitor = "val/accuracy"

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        loss: nn.Module | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        size = embedding_size or getattr(encoder, "embedding_size", None)
        if not isinstance(size, int):
            name = type(encoder).__name__
            raise ValueError(
                f"model.encoder: {name} has no embedding_size; give it that attribute, or set model.embedding_size"
            )
        self.encoder = encoder
        self.head = nn.Linear(size, num_classes)
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        check_input(self.loss, "logits", type(self).__name__)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make sure that the data number the classes as those the head was trained on.

        Raises:
            ValueError: naming both lists of classes.
        """
        super().on_load_checkpoint(checkpoint)
        trained_on = checkpoint.get("preparation", {}).get("class_names")
        asked_for = getattr(getattr(self._trainer, "datamodule", None), "class_names", trained_on)
        if trained_on != asked_for:
            raise ValueError(
                f"the checkpoint was trained on the classes {', '.join(trained_on)}, but the data has "
                f"{', '.join(asked_for)}: give data.classes the same ones in the same order"
            )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and the share of images classified right."""
        images, labels = batch
        logits = self(images)
        return {"loss": self.loss(logits, labels), "accuracy": (logits.argmax(1) == labels).float().mean()}
