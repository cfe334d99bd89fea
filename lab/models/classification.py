"""What all families that classify do alike."""

from torch import Tensor, nn

from lab.models.base import Batch, Family


def classification_step(model: Family, loss: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the loss and the share of images classified right; while evaluating, collect the logits too."""
    images, labels = batch
    logits = model(images)
    if not model.training:
        model.metrics.update(logits, labels)
    return {"loss": loss(logits, labels), "accuracy": (logits.argmax(1) == labels).float().mean()}
