"""What of the data and of the random numbers around a model goes into its checkpoint."""

from typing import Any

import torch
from lightning.pytorch import Trainer

from lab.models.needs import check_class_names


def add_surroundings(checkpoint: dict[str, Any], model: Any) -> None:
    """Add ``preparation``, how the data prepares an image, ``random_state``, where the random numbers are, and averages."""
    trainer: Trainer | None = model._trainer
    checkpoint["train_averages"] = _of_all_processes(trainer, model.train_averages.kept())
    data: Any = getattr(trainer, "datamodule", None)
    if hasattr(data, "state_dict"):
        checkpoint["preparation"] = data.state_dict()
    checkpoint["random_state"] = torch.get_rng_state()
    if torch.cuda.is_available():
        checkpoint["cuda_random_state"] = torch.cuda.get_rng_state()


def restore_surroundings(checkpoint: dict[str, Any], model: Any) -> None:
    """Let the data prepare images as those before, and, where training goes on, let the random numbers go on too.

    Raises:
        ValueError: as ``check_class_names`` does, where a family needs the classes that it was trained on.
    """
    trainer: Trainer | None = model._trainer
    if trainer is None:
        return
    data: Any = getattr(trainer, "datamodule", None)
    if model.needs_known_classes:
        check_class_names(checkpoint, data)
    if "mean" in checkpoint.get("preparation", {}) and hasattr(data, "load_state_dict"):
        data.load_state_dict(checkpoint["preparation"])
    if trainer.state.fn == "fit" and "random_state" in checkpoint:
        model.train_averages.restore(checkpoint.get("train_averages", {}) if trainer.is_global_zero else {})
        torch.set_rng_state(checkpoint["random_state"])
        if torch.cuda.is_available() and "cuda_random_state" in checkpoint:
            torch.cuda.set_rng_state(checkpoint["cuda_random_state"])


def _of_all_processes(trainer: Trainer | None, kept: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if trainer is None or trainer.world_size == 1:
        return kept
    found: list[dict[str, torch.Tensor]] = [{}] * trainer.world_size
    torch.distributed.all_gather_object(found, kept)
    return {name: torch.cat([part[name] for part in found if name in part]) for name in kept}
