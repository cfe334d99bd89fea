"""Starting from the weights of another run, or from those of its encoder."""

import os
from typing import Any

import torch

from lab.models.base import Family
from lab.models.checkpoint import check_checkpoint, read_checkpoint
from lab.models.needs import check_class_names


def load_weights_from(model: Family, data: Any, path: str | os.PathLike[str]) -> str:
    """Copy all weights of a checkpoint into a model, and let the data prepare images as those that they were trained on.

    Args:
        model: of the same family and network.
        data: the data module, before or after it is set up.
        path: a checkpoint.

    Returns:
        What was loaded, in one line.

    Raises:
        ValueError: as ``check_checkpoint`` does, or if the classes of a family that needs them are others.
    """
    check_checkpoint(path, model)
    checkpoint = read_checkpoint(path)
    if model.needs_known_classes:
        try:
            check_class_names(checkpoint, data)
        except ValueError as error:
            raise ValueError(f"weights_from {path}: {error}, or take over the encoder alone, by encoder_from") from error
    # The threshold was chosen on validation images, and will be again.
    weights = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith("metrics.")}
    model.load_state_dict(weights, strict=False)
    if "mean" in checkpoint.get("preparation", {}) and hasattr(data, "load_state_dict"):
        data.load_state_dict(checkpoint["preparation"])
    return f"{type(model).__name__}: {len(weights)} tensors loaded from {path}, and how images are normalised"


def load_encoder_from(model: Family, path: str | os.PathLike[str]) -> str:
    """Copy the weights of a checkpoint's encoder into that of a model, as far as names and shapes agree.

    Args:
        model: any family; the checkpoint may be of another.
        path: a checkpoint of a family.

    Returns:
        What was loaded and what was not, in one line, or two.

    Raises:
        ValueError: if nothing agrees, in addition to what ``read_checkpoint`` raises.
    """
    stored = {
        name.removeprefix("encoder."): value
        for name, value in read_checkpoint(path)["state_dict"].items()
        if name.startswith("encoder.")
    }
    encoder = model.get_submodule("encoder")
    own = encoder.state_dict()
    loaded = [name for name, value in own.items() if name in stored and stored[name].shape == value.shape]
    # A count of batches fits any other; it belongs to the batch norm whose weight fits too.
    loaded = [name for name in loaded if not name.endswith("num_batches_tracked") or _weight_beside(name) in loaded]
    weights = {name for name, _ in encoder.named_parameters()}
    if not weights <= set(loaded):  # how images are normalised belongs to the weights: all of them, or one's own
        loaded = [name for name in loaded if name not in ("_mean", "_std")]
    if not any(own[name].ndim > 1 for name in loaded if name in weights):
        other = [n for n in own if n in stored and stored[n].shape != own[n].shape]
        first = f": {other[0]} is {tuple(stored[other[0]].shape)} there and {tuple(own[other[0]].shape)} here" if other else ""
        name = type(encoder).__name__
        raise ValueError(f"encoder_from {path}: none of its {len(stored)} tensors fits the encoder, a {name}{first}")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(stored[name])
    left = [f"{name} ({'other shape' if name in stored else 'not there'})" for name in own if name not in loaded]
    unused = [name for name in stored if name not in own]
    report = f"encoder: {len(loaded)} of {len(own)} tensors loaded from {path}"
    if left or unused:
        report += f"\nnot loaded: {', '.join(left) or 'none'}; in the checkpoint and not used: {', '.join(unused) or 'none'}"
    return report


def _weight_beside(name: str) -> str:
    return f"{name.rpartition('.')[0]}.weight"
