"""What a run needs to go on after whatever has ended it: its newest state, in one file that is always whole."""

import io
import math
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch.nn.parameter import is_lazy

from lab.callbacks.finite import DIVERGED
from lab.writing import whole_file

ASK_EVERY = 20  # steps apart the processes of several devices ask each other whether to end
TERMINATED = 128 + signal.SIGTERM  # exit code of a process that has ended because it was asked to


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place first; Lightning copies it there from the system's folder for temporary files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint whole or not at all."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        written = io.BytesIO()  # as torch's own writing to a file does not say why it fails
        torch.save(checkpoint, written)
        with whole_file(Path(path)) as unfinished:
            unfinished.write_bytes(written.getbuffer())


def write_whole(trainer: Trainer) -> None:
    """Let a trainer write its checkpoints whole or not at all, unless it writes them in a way of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()


class Best(ModelCheckpoint):
    """Keeps ``best.ckpt``, and knows it again where a run goes on whose folder was moved."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write it whole."""
        super().setup(trainer, pl_module, stage)
        write_whole(trainer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up which epoch was the best so far, if its checkpoint is here."""
        assert self.dirpath is not None
        here, before = str(self.dirpath), str(state_dict["dirpath"])
        if Path(here, "best.ckpt").is_file():
            models = {path.replace(before, here): score for path, score in state_dict["best_k_models"].items()}
            paths = {
                name: value.replace(before, here)
                for name, value in state_dict.items()
                if isinstance(value, str) and name != "monitor"
            }
            super().load_state_dict({**state_dict, **paths, "best_k_models": models})


class Keeper(Checkpoint):
    """Keeps ``last.ckpt``, from which training goes on as if it had never stopped, in the middle of an epoch too.

    It is written after every epoch, every so many steps, and when the process is asked to end by SIGTERM, as clusters do: after
    the step that is being taken, or, while validating, after the epoch. It is whole at any time, as it is
    replaced at once, and holds no weights that are no numbers. Batches that cannot be skipped to, as of a user's own data
    module, are gone on with from the last epoch that was over.

    Args:
        folder: where the file goes.
        every_n_steps: how many optimizer steps apart it is written within an epoch; None for never.
    """

    def __init__(self, folder: Path, every_n_steps: int | None = 500) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"callbacks.save_every_n_steps must be 1 or more, or null, not {every_n_steps}")
        self.path = folder / "last.ckpt"
        self.every_n_steps = every_n_steps
        self.seconds = 0.0  # of training, in all processes that had a part in it
        self._began = time.perf_counter()
        self._last_step = 0
        self._asked_to_end = False
        self._handler: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write it whole."""
        write_whole(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Be told of SIGTERM from now on, in place of Lightning, which would end a validation half done."""
        self._began, self._last_step = time.perf_counter(), trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._ask_to_end)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, where it is time to; the last step of an epoch is saved with the epoch."""
        stepped = trainer.global_step > self._last_step  # else gradients are still being added up, which are not saved
        self._last_step = trainer.global_step
        validates = (batch_idx + 1) % (trainer.val_check_batch or math.inf) == 0  # which would be left out when going on
        if not stepped or trainer.is_last_batch or validates:
            return
        ends = (trainer.world_size == 1 or batch_idx % ASK_EVERY == 0) and self._should_end(trainer)
        resumes_here = hasattr(getattr(trainer.train_dataloader, "sampler", None), "skip")
        due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        if resumes_here and (ends or due):
            self._save(trainer)
        if ends:
            raise SystemExit(TERMINATED)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch."""
        self._save(trainer)
        if self._should_end(trainer):
            raise SystemExit(TERMINATED)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave SIGTERM to whoever had it before, after those that came while the results were drawn."""
        self._give_back()
        if self._should_end(trainer):
            raise SystemExit(TERMINATED)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self._give_back()

    def state_dict(self) -> dict[str, Any]:
        """Return how long training has taken."""
        return {"seconds": self.seconds + time.perf_counter() - self._began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up how long training has taken before."""
        self.seconds = state_dict["seconds"]

    def _save(self, trainer: Trainer) -> None:
        for name, parameter in trainer.lightning_module.named_parameters():
            if not is_lazy(parameter) and not parameter.isfinite().all():
                raise ValueError(
                    f"{name} is NaN or infinite after step {trainer.global_step}: training has diverged. {DIVERGED}"
                )
        for logger in trainer.loggers:  # what was logged before must be there too
            logger.save()
        trainer.save_checkpoint(self.path)

    def _should_end(self, trainer: Trainer) -> bool:
        """Return whether any process was asked to end: all must do so after the same step."""
        return trainer.strategy.reduce_boolean_decision(self._asked_to_end, all=False)

    def _ask_to_end(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True

    def _give_back(self) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None
