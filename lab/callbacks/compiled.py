"""Encoders that are compiled while they are trained."""

import difflib
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn


class Compile(Callback):
    """Compiles a model's encoders by ``torch.compile`` for the steps of training; the rest, and what is saved, is as it was.

    Args:
        backend: of ``torch.compile``: ``inductor``, which writes kernels, or ``cudagraphs``, which records those of a step on a
            GPU and plays them back.
    """

    def __init__(self, backend: str) -> None:
        if backend not in torch.compiler.list_backends(exclude_tags=None):  # those for finding faults, too
            near = difflib.get_close_matches(backend, torch.compiler.list_backends(), n=1, cutoff=0.0)
            raise ValueError(f"callbacks.compile: torch.compile has no backend {backend!r} here; did you mean {near[0]!r}?")
        self.backend = backend
        self._compiled: dict[nn.Module, Callable[..., Any]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compile, which happens in the first step."""
        parts = [getattr(pl_module, name, None) for name in ("encoder", "other_encoder")]
        self._compiled = {
            part: torch.compile(part.forward, backend=self.backend) for part in parts if isinstance(part, nn.Module)
        }
        self._put_in()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it out: batches of other sizes, and networks in evaluation, would be compiled anew."""
        self._take_out()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with it."""
        self._put_in()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the networks as they were."""
        self._take_out()
        self._compiled = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self.on_train_end(trainer, pl_module)

    def _put_in(self) -> None:
        for part, forward in self._compiled.items():
            part.forward = forward

    def _take_out(self) -> None:
        for part in self._compiled:
            vars(part).pop("forward", None)  # which then is that of its class again
