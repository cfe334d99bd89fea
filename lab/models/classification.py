"""What all families that classify do alike."""

from torch import Tensor


def classification_values(loss: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the loss and the share of images classified right, of logits (N, C) and labels (N,)."""
    return {"loss": loss, "accuracy": (logits.argmax(1) == labels).float().mean()}
