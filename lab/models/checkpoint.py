"""Checkpoints, read without unpickling anything but numbers and texts."""

import importlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from lab.models.base import Family


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of a family onto the CPU.

    Raises:
        ValueError: if it does not exist, is not whole, holds more than numbers and texts, or is not from this project.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(str(found) for found in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
        raise ValueError(f"there is no checkpoint {path}" + (f"; there is {', '.join(near)}" if near else ""))
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is not a whole checkpoint of weights and settings alone ({reason})") from error
    if not isinstance(checkpoint, dict) or "_class_path" not in checkpoint.get("hyper_parameters", {}):
        raise ValueError(f"{path} is a checkpoint, but not of a family of this project: it does not name its class")
    return checkpoint


def check_checkpoint(path: str | os.PathLike[str], model: Family) -> None:
    """Make sure that a checkpoint fits a model.

    Raises:
        ValueError: naming the first thing in which they differ, in addition to what ``read_checkpoint`` raises.
    """
    checkpoint = read_checkpoint(path)
    made_by, needed_by = (
        hparams["_class_path"].rpartition(".")[2] for hparams in (checkpoint["hyper_parameters"], model.hparams)
    )
    if made_by != needed_by:
        raise ValueError(f"{path} holds a {made_by}, but the config makes a {needed_by}; use the config of its own run")
    stored, wanted = ({name: tuple(v.shape) for name, v in s.items()} for s in (checkpoint["state_dict"], model.state_dict()))
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise ValueError(
                f"{path} does not fit the model of the config: {name} is {stored.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here; use the config of its own run"
            )


def load(path: str | os.PathLike[str]) -> Family:
    """Make the model of a checkpoint again, with its weights, on the CPU and in evaluation mode.

    Raises:
        ValueError: as ``read_checkpoint`` does.
    """
    class_path = read_checkpoint(path)["hyper_parameters"]["_class_path"]
    module, _, name = class_path.rpartition(".")
    try:
        family = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is of the family {class_path}, which cannot be imported: {error}") from error
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise ValueError(f"{path} names {class_path} as its family, which is none")
    model: Family = family.load_from_checkpoint(Path(path), map_location="cpu", weights_only=True)
    return model.eval()
