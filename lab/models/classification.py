"""What all families that classify do alike."""

from typing import Any

from torch import Tensor


def classification_values(loss: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the loss and the share of images classified right, of logits (N, C) and labels (N,)."""
    return {"loss": loss, "accuracy": (logits.argmax(1) == labels).float().mean()}


def check_class_names(checkpoint: dict[str, Any], datamodule: Any) -> None:
    """Make sure that the data number the classes as those a checkpoint was trained on.

    Raises:
        ValueError: naming both lists of classes.
    """
    trained_on = checkpoint.get("preparation", {}).get("class_names")
    asked_for = getattr(datamodule, "class_names", trained_on)
    if trained_on is not None and trained_on != asked_for:
        raise ValueError(
            f"the checkpoint was trained on the classes {', '.join(trained_on)}, but the data has {', '.join(asked_for)}: "
            "give data.classes the same ones in the same order"
        )
