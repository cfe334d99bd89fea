"""Checkpoints, read without unpickling anything but numbers and texts."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lab.models.base import Family
from lab.nets.pretrained import random_weights


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
        if "weights_only" in reason:  # torch would have the user load it unsafely
            reason = "it holds something else, or is not a checkpoint at all"
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


def load(path: str | os.PathLike[str], **arguments: Any) -> Family:
    """Make the model of a checkpoint again, with its weights, on the CPU and in evaluation mode.

    Classes of lab, ``torch.nn`` and ``torch.optim`` are made as the checkpoint says; any other must have been imported by the
    caller, who thereby says that it is wanted.

    Args:
        path: the checkpoint.
        arguments: of the family, in place of those in the checkpoint; needed where it could not describe them.

    Raises:
        ValueError: as ``read_checkpoint`` does, and if an argument is missing or a class is not known.
    """
    settings = read_checkpoint(path)["hyper_parameters"]
    family = _known_class(settings["_class_path"], path)
    if not issubclass(family, Family):
        raise ValueError(f"{path} names {settings['_class_path']} as its family, which is none")
    missing = [name for name in settings.get("_left_out", ()) if name not in arguments]
    if missing:
        raise ValueError(f"{path} cannot tell how to make {missing[0]!r} again: load(path, {missing[0]}=...)")
    _check_classes({name: value for name, value in settings.items() if name not in arguments}, path)
    with random_weights():
        model: Family = family.load_from_checkpoint(Path(path), map_location="cpu", weights_only=True, **arguments)
    return model.eval()


def _check_classes(settings: Any, path: str | os.PathLike[str]) -> None:
    """Make sure that all classes named anywhere in the settings are known ones, before any is made."""
    if isinstance(settings, dict) and "class_path" in settings:
        _known_class(settings["class_path"], path)
    for value in settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list | tuple) else ():
        _check_classes(value, path)


def _known_class(class_path: Any, path: str | os.PathLike[str]) -> type:
    """Find a class without importing anything: a checkpoint may come from a stranger, and importing is executing.

    A function is refused whatever it returns, and so is all of torch but layers, losses and optimizers: parts of it compile
    text.
    """
    module, _, name = str(class_path).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    ours = module.startswith(("lab.", "torch.nn.", "torch.optim.")) or module in ("torch.nn", "torch.optim")
    if not ours and module.partition(".")[0] == "torch":
        found = None
    if not (isinstance(found, type) and issubclass(found, nn.Module | Optimizer | LRScheduler)):
        raise ValueError(f"{path} names {class_path}, which is not a known class; if you trust the file, import it first")
    return found
