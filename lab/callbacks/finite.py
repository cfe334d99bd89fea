"""A stop before a loss that is no number spoils what was learned."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lab.writing import whole_file

EVERY_ON_A_GPU = 10  # steps: to look at each would make the GPU wait


class FiniteLoss(Callback):
    """Stops a run whose loss is NaN or infinite, names the batch, and writes which images it is of.

    It looks before any checkpoint is written. On a GPU several steps are looked at together.

    Args:
        run_folder: where ``not_finite.json`` goes: epoch, batch, step, and the places of the images in the training split.
        save_every_n_steps: how often a checkpoint is written within an epoch.
    """

    def __init__(self, run_folder: Path | None, save_every_n_steps: int | None = None) -> None:
        self.run_folder = run_folder
        self.every = math.gcd(EVERY_ON_A_GPU, save_every_n_steps or EVERY_ON_A_GPU)
        self._losses: list[tuple[int, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and look at it where it is time to."""
        loss = outputs["loss"].detach()
        if loss.device.type == "cpu":
            if not math.isfinite(loss.item()):
                self._stop(trainer, batch_idx, loss.item())
            return
        self._losses.append((batch_idx, loss))
        if trainer.global_step % self.every == 0 or trainer.is_last_batch:
            losses, self._losses = self._losses, []
            finite = torch.stack([loss for _, loss in losses]).isfinite()
            if not finite.all():
                number, loss = losses[int((~finite).float().argmax())]
                self._stop(trainer, number, loss.item())

    def _stop(self, trainer: Trainer, batch: int, loss: float) -> None:
        epoch, found = trainer.current_epoch, ""
        sampler: Any = getattr(trainer.train_dataloader, "sampler", None)
        if self.run_folder is not None and trainer.is_global_zero and hasattr(sampler, "draw"):
            indices = next(itertools.islice(sampler.draw(), batch, None)).tolist()
            record = {"epoch": epoch + 1, "batch": batch, "step": trainer.global_step, "loss": str(loss), "indices": indices}
            with whole_file(self.run_folder / "not_finite.json") as unfinished:
                unfinished.write_text(json.dumps(record) + "\n", encoding="utf-8")
            found = f"; {self.run_folder / 'not_finite.json'} lists its training images"
        raise ValueError(
            f"the loss is {loss} in epoch {epoch + 1}, batch {batch}{found}. A lower learning rate may help, or "
            "--trainer.gradient_clip_val 1; what was saved before is whole"
        )
