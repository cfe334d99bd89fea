"""Classification by the embedding of an image."""

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lab.losses.inputs import check_input
from lab.metrics import ClassificationMetrics
from lab.models.base import Batch, Family, embedding_size_of
from lab.models.classification import classification_step
from lab.nets.heads import ClassHead, class_head


class Classifier(Family):
    """Softmax regression on the encoder: p(class | x) = softmax(W f(x) + b), trained by cross-entropy.

    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D); D is its ``embedding_size``.
        num_classes: number of classes.
        loss: of logits (N, num_classes) and labels (N,); None for cross-entropy.
        head: ``linear`` as above; ``unit_linear`` of f(x) / |f(x)|, as for an encoder that the cosine distance has trained;
            ``bias`` for f(x) + b, or ``none`` for f(x) alone, where D is ``num_classes``.
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
        loss: nn.Module | None = None,
        head: ClassHead = "linear",
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.encoder = encoder
        self.head = class_head(head, embedding_size_of(encoder, embedding_size), num_classes)
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        check_input(self.loss, "logits", type(self).__name__)
        self.metrics = ClassificationMetrics()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and the share of images classified right."""
        return classification_step(self, self.loss, batch)
