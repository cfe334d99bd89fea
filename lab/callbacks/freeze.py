"""Parts of a model that are kept as they are."""

import difflib
from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn


class Freeze(Callback):
    """Keeps parts of a model as they are: no optimizer sees their weights, and their batch norm and dropout stay in evaluation.

    It is done before the optimizer is made, in every run, one that goes on from a checkpoint too.

    Args:
        parts: names of modules or parameters, such as ``encoder`` or ``encoder.layers.1``.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = list(parts)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze the parts.

        Raises:
            ValueError: if the model has no part of a name, naming the nearest.
        """
        if stage != "fit":
            return
        parameters, modules = dict(pl_module.named_parameters()), dict(pl_module.named_modules())
        for name in self.parts:
            found = parameters.get(name) if name in parameters else modules.get(name) if name else None
            holds_weights = isinstance(found, nn.Parameter) or (found is not None and any(True for _ in found.parameters()))
            if found is None or not holds_weights:
                there = [*dict.fromkeys(part for path in parameters for part in _above(path)), *parameters]
                near = difflib.get_close_matches(name, there, n=1, cutoff=0.0)
                raise ValueError(
                    f"callbacks.freeze: {type(pl_module).__name__} has no part {name!r} with weights; did you mean {near[0]!r}?"
                )
            found.requires_grad_(False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep frozen modules as in evaluation: batch norm would measure anew, and dropout is there to train by."""
        self._evaluate(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise; a run that goes on in the middle of an epoch has no start of that."""
        self._evaluate(pl_module)

    def _evaluate(self, pl_module: LightningModule) -> None:
        modules = dict(pl_module.named_modules())
        for name in self.parts:
            if name in modules:
                modules[name].eval()


def _above(path: str) -> list[str]:
    """Return the modules that a parameter is in, the outermost first."""
    parts = path.split(".")[:-1]
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def what_trains(model: nn.Module) -> str:
    """Say which parts of a model train and which are frozen; empty where all of them train."""
    if all(parameter.requires_grad for parameter in model.parameters()):
        return ""
    parts: dict[bool, list[str]] = {True: [], False: []}
    _collect(model, "", parts)
    return f"trains: {', '.join(parts[True]) or 'nothing'}; frozen: {', '.join(parts[False])}"


def _collect(module: nn.Module, path: str, parts: dict[bool, list[str]]) -> None:
    """Name the largest modules whose parameters all train, or all do not."""
    states = {parameter.requires_grad for parameter in module.parameters()}
    if len(states) == 1 and path:
        parts[states.pop()].append(path)
    elif states:
        for name, parameter in module.named_parameters(path, recurse=False):
            parts[parameter.requires_grad].append(name)
        for name, child in module.named_children():
            _collect(child, f"{path}.{name}".lstrip("."), parts)
