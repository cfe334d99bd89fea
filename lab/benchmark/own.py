"""The same training by this codebase, by the command that a user types."""

from dataclasses import replace
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from lab.benchmark.cases import Case
from lab.benchmark.clock import Clock
from lab.runs import PROJECT

_clocks: list[Clock] = []  # a config names a class and cannot hold a clock


class OwnClock(Callback):
    """Tells the clock of epochs."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the end of the epoch before, with all that was done at its end."""
        if trainer.current_epoch > 0:
            _clocks[0].lap(int(trainer.num_training_batches))


def own(case: Case, root: Path, clock: Clock) -> None:
    """Train by ``fit.py`` with all that it does beside training, but for validation, which the others have not."""
    from lab.arguments import called_with
    from lab.commands import fit

    where = {"data.root": str(root)} if case.data == "digits" else {"data.folder": str(root / "pictures")}
    options = {
        **where,
        **case.options,
        "trainer.accelerator": case.accelerator,
        "trainer.limit_train_batches": str(case.num_steps or 1.0),
        "trainer.max_epochs": "1000000",
        "trainer.limit_val_batches": "0",
        "callbacks.monitor": "train/loss",
        "callbacks.early_stopping": "false",
        "trainer.default_root_dir": str(root / "own"),
        "trainer.callbacks": "lab.benchmark.own.OwnClock",
    }
    _clocks[:] = [clock]
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    with called_with(["--config", str(PROJECT / "configs" / case.config), *words]):
        fit()


def own_bf16(case: Case, root: Path, clock: Clock) -> None:
    """Do the same in mixed precision."""
    own(replace(case, options={**case.options, "trainer.precision": "bf16-mixed"}), root, clock)


def own_recorded(case: Case, root: Path, clock: Clock) -> None:
    """Do the same with what the encoder computes recorded, and played back."""
    own(replace(case, options={**case.options, "callbacks.compile": "cudagraphs"}), root, clock)
