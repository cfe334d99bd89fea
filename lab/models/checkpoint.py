"""Checkpoints, read without unpickling anything but numbers and texts."""

import errno
import functools
import os
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lab.metrics import Evaluation
from lab.models import recipe
from lab.models.base import Family
from lab.nets.pretrained import random_weights


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of a family onto the CPU.

    Raises:
        ValueError: if it does not exist, is not whole, holds more than numbers and texts, or is not from this project.
    """
    path = Path(path)
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        near = sorted(str(found) for found in (*folder.glob("*.ckpt"), *folder.glob("checkpoints/*.ckpt")))[:3]
        raise ValueError(f"there is no checkpoint {path}" + (f"; there is {', '.join(near)}" if near else ""))
    try:
        if zipfile.is_zipfile(path):  # whose sums torch does not check
            with zipfile.ZipFile(path) as archive:
                if (changed := archive.testzip()) is not None:
                    raise EOFError(f"{changed} is not what was written")
        with warnings.catch_warnings(action="ignore"):  # torch's advice, on how to load it all the same
            checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file can be that is none
        # torch's own words are about how to load it unsafely, or of the inside of an archive.
        damaged = isinstance(error, RuntimeError | EOFError | zipfile.BadZipFile) or getattr(error, "errno", 0) == errno.EINVAL
        reason = "it is cut off or damaged" if damaged else "it holds something else, or is not a checkpoint at all"
        if isinstance(error, OSError) and error.strerror and not damaged:
            reason = error.strerror
        raise ValueError(f"{path} is not a whole checkpoint of weights and settings alone: {reason}") from error
    settings = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    named = isinstance(settings, dict) and isinstance(settings.get("_class_path"), str) and all(map(_is_text, settings))
    if not named or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{path} is a checkpoint, but not of a family of this project: it does not name its class")
    whole: dict[str, Any] = checkpoint
    return whole


def _is_text(name: Any) -> bool:
    return isinstance(name, str)


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


def check_resume(path: str | os.PathLike[str], model: Family, max_epochs: int | None, in_place: bool = False) -> None:
    """Make sure that training can go on from a checkpoint that fits the model.

    Raises:
        ValueError: if it is finished already, or was trained by another optimizer or scheduler.
    """
    checkpoint = read_checkpoint(path)
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    num_epochs = loop.get("epoch_progress", {}).get("current", {}).get("processed", 0)
    if not in_place and max_epochs not in (None, -1) and num_epochs >= max_epochs:  # in its place, it is scored again
        raise ValueError(
            f"{path} has been trained for {num_epochs} epochs, which is all of trainer.max_epochs {max_epochs}: score it by "
            "scripts/test.py, or raise trainer.max_epochs (not with OneCycleLR, whose schedule is over)"
        )
    for part in ("optimizer", "scheduler"):
        before, now = (_class_of(hparams.get(part)) for hparams in (checkpoint["hyper_parameters"], model.hparams))
        if _name_of(before) != _name_of(now):
            raise ValueError(f"{path} was trained by model.{part} {before}, not by {now}: its state would not fit")


def check_frozen(path: str | os.PathLike[str], model: Family, freeze: list[str]) -> None:
    """Make sure that as much of a model trains as when a checkpoint was written.

    Args:
        path: the checkpoint.
        model: before anything of it is frozen.
        freeze: names of the parts that will be.

    Raises:
        ValueError: saying how to train more or less of it.
    """
    states = read_checkpoint(path).get("optimizer_states") or [{}]
    before = sum(len(group["params"]) for group in states[0].get("param_groups", ()))
    under = tuple(f"{part}." for part in freeze)
    now = sum(p.requires_grad and name not in freeze and not name.startswith(under) for name, p in model.named_parameters())
    if before and before != now:
        raise ValueError(
            f"{path} was trained with {before} tensors that are not frozen, and here are {now}: leave callbacks.freeze as it "
            f"was, or begin a new run by --weights_from {path}"
        )


def _name_of(class_path: Any) -> Any:
    """Return a class path as the class itself is called, wherever it was imported from."""
    module, _, name = str(class_path).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return f"{found.__module__}.{found.__qualname__}" if isinstance(found, type) else class_path


def _class_of(described: Any) -> Any:
    return described.get("class_path") if isinstance(described, dict) else described


def load(path: str | os.PathLike[str], **arguments: Any) -> Family:
    """Make the model of a checkpoint again, with its weights, on the CPU and in evaluation mode.

    Classes of lab, ``torch.nn`` and ``torch.optim`` are made as the checkpoint says; any other must have been imported by the
    caller, who thereby says that it is wanted. A text in a checkpoint stays a text.

    Args:
        path: the checkpoint.
        arguments: of the family, in place of those in the checkpoint; needed where it could not describe them.

    Raises:
        ValueError: as ``read_checkpoint`` does, and if an argument is missing or a class is not known.
    """
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"]
    family = _known_class(settings["_class_path"], path)
    if not issubclass(family, Family):
        raise ValueError(f"{path} names {settings['_class_path']} as its family, which is none")
    missing = [name for name in settings.get("_left_out", ()) if name not in arguments]
    if missing:
        raise ValueError(f"{path} cannot tell how to make {missing[0]!r} again: load(path, {missing[0]}=...)")
    stored = {name: value for name, value in settings.items() if not name.startswith("_") and name not in arguments}
    with random_weights(), torch.random.fork_rng(devices=[]):
        recipe.log.disabled = True  # what cannot be described again is described in the checkpoint
        try:
            model = family(**{name: _make(value, path) for name, value in stored.items()}, **arguments)
            model.load_state_dict(checkpoint["state_dict"])
        except (TypeError, RuntimeError, AttributeError) as error:
            raise ValueError(f"{path} does not fit the classes that it names: {error}") from error
        finally:
            recipe.log.disabled = False
    described = {name: value for name, value in model.hparams.items() if name not in stored}
    model.hparams.clear()
    model.save_hyperparameters({**described, **stored, "_left_out": [n for n in described["_left_out"] if n in arguments]})
    return model.eval()


def load_as(family: type[Family], path: str | os.PathLike[str], **arguments: Any) -> Family:
    """Do as ``load`` does for a checkpoint of a family.

    Raises:
        ValueError: if it is one of another.
    """
    model = load(path, **arguments)
    if not isinstance(model, family):
        raise ValueError(f"{path} holds a {type(model).__name__}, not a {family.__name__}")
    return model


def _make(value: Any, path: str | os.PathLike[str]) -> Any:
    """Make what a recipe describes; an optimizer or a scheduler is made later, of parameters that are not there yet."""
    if isinstance(value, list | tuple):
        return [_make(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return {name: _make(item, path) for name, item in value.items()}
    made_of = _known_class(value["class_path"], path)
    arguments = {**(value.get("init_args") or {}), **(value.get("dict_kwargs") or {})}
    maker = functools.partial(made_of, **{name: _make(item, path) for name, item in arguments.items()})
    return maker if issubclass(made_of, Optimizer | LRScheduler) else maker()


def _known_class(class_path: Any, path: str | os.PathLike[str]) -> type:
    """Find a class without importing anything: a checkpoint may come from a stranger, and importing is executing.

    A function is refused whatever it returns, and so is what this project imports itself, but for layers, losses and
    optimizers: parts of torch compile text, and some metrics download weights.
    """
    module, _, name = str(class_path).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    ours = module.startswith(("lab.", "torch.nn.", "torch.optim.")) or module in ("torch.nn", "torch.optim")
    if not ours and module.partition(".")[0] in ("lightning", "torch", "torchmetrics"):
        found = None
    if not (isinstance(found, type) and issubclass(found, nn.Module | Optimizer | LRScheduler | Evaluation)):
        raise ValueError(f"{path} names {class_path}, which is not a known class; if you trust the file, import it first")
    return found
