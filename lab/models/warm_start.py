"""Starting from the encoder of another run."""

import os

import torch

from lab.models.base import Family
from lab.models.checkpoint import read_checkpoint


def warm_start(model: Family, path: str | os.PathLike[str]) -> str:
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
        raise ValueError(f"encoder_from {path}: none of its {len(stored)} tensors fits the encoder, a {type(encoder).__name__}")
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
