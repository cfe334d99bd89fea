"""Encoders that are compiled while they are trained."""

import difflib

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lab.callbacks.forwards import Forwards, encoders_of


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
        self._compiled = Forwards({})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compile, which happens in the first step, and takes long."""
        if trainer.is_global_zero and self.backend == "inductor":
            print("the first step waits for inductor to compile, which may take a minute", flush=True)
        parts = encoders_of(pl_module)
        self._compiled = Forwards({part: torch.compile(part.forward, backend=self.backend) for part in parts})
        self._compiled.put_in()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it out: batches of other sizes, and networks in evaluation, would be compiled anew."""
        self._compiled.take_out()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with it."""
        self._compiled.put_in()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the networks as they were."""
        self._compiled.take_out()
        self._compiled = Forwards({})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self.on_train_end(trainer, pl_module)
