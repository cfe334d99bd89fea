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
DIVERGED = "A lower learning rate may help, or --trainer.gradient_clip_val 1; what was saved before is whole"


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
        self._losses: list[tuple[int, int, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and look at it where it is time to."""
        loss = outputs["loss"]  # which Lightning has detached
        if trainer.world_size == 1 and loss.device.type == "cpu" and math.isfinite(loss.item()):
            return
        self._losses.append((batch_idx, trainer.global_step, loss))
        if loss.device.type != "cpu" and trainer.global_step % self.every and not trainer.is_last_batch:
            return
        losses, self._losses = self._losses, []
        values = [(batch_idx, step, loss.item()) for batch_idx, step, loss in losses]
        bad = next((one for one in values if not math.isfinite(one[2])), None)
        # Asked by all processes: what one adds to the gradients spoils the weights of all.
        if trainer.world_size == 1 and bad is None:
            return
        if trainer.strategy.reduce_boolean_decision(bad is not None, all=False):
            self._stop(trainer, bad)

    def _stop(self, trainer: Trainer, bad: tuple[int, int, float] | None) -> None:
        sampler: Any = getattr(trainer.train_dataloader, "sampler", None)
        record: dict[str, Any] | None = None
        if bad is not None:
            at = {"epoch": trainer.current_epoch + 1, "batch": bad[0], "step": bad[1], "loss": str(bad[2])}
            indices = next(itertools.islice(sampler.draw(), bad[0], None)).tolist() if hasattr(sampler, "draw") else []
            record = {**at, "indices": indices}
        record = next(found for found in _of_all_processes(trainer, record) if found is not None)
        epoch, batch, loss, found = record["epoch"], record["batch"], record["loss"], ""
        if self.run_folder is not None and trainer.is_global_zero and record["indices"]:
            with whole_file(self.run_folder / "not_finite.json") as unfinished:
                unfinished.write_text(json.dumps(record) + "\n", encoding="utf-8")
            found = f"; {self.run_folder / 'not_finite.json'} lists its training images"
        raise ValueError(f"the loss is {loss} in epoch {epoch}, batch {batch}{found}. {DIVERGED}")


def _of_all_processes(trainer: Trainer, record: dict[str, Any] | None) -> list[dict[str, Any] | None]:
    found = [record] * trainer.world_size
    if trainer.world_size > 1:
        torch.distributed.all_gather_object(found, record)
    return found
