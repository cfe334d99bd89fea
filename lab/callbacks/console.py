"""What a user sees of a run: a progress bar on a terminal, one plain line an epoch anywhere."""

import re
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichModelSummary, RichProgressBar
from rich.console import Console
from rich.table import Table

from lab.callbacks.freeze import what_trains
from lab.writing import whole_file


class RunProgressBar(RichProgressBar):
    """Lightning's bar, without the run's number, which it cuts off; redrawn every tenth step, as drawing takes time."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10, leave=True)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the scores to show."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class ModelTable(RichModelSummary):
    """Lightning's table of layers, without the parts that only keep scores, and which of them train, where not all do."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print it."""
        super().on_fit_start(trainer, pl_module)
        if trainer.is_global_zero and (words := what_trains(pl_module)):
            print(words)

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Print the table and the number of parameters."""
        columns = {name: values for name, values in summary_data if name in ("Name", "Type", "Params")}
        table = Table(*columns)
        for row in zip(*columns.values(), strict=True):
            if row[1] not in ("Averages", "EmbeddingMetrics", "ClassificationMetrics"):
                table.add_row(*row)
        console = Console(highlight=False, soft_wrap=True)
        console.print(table)
        frozen = total_parameters - trainable_parameters
        console.print(f"{total_parameters:,} parameters{f', {frozen:,} of them frozen' if frozen else ''}, {model_size:.1f} MB")


class StepLoss(Callback):
    """Logs the loss of single steps as ``train/loss_step``, each ``trainer.log_every_n_steps``."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss of this step, where it is its turn."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and trainer.global_step % every == 0:
            for logger in trainer.loggers:
                logger.log_metrics({"train/loss_step": outputs["loss"].item()}, trainer.global_step)


class EpochLog(Callback):
    """Appends to a file, after each epoch, a line of its number, its scores and its seconds.

    The line is written when all is known: where there was no validation, at the start of the next epoch, or at the end.

    Args:
        path: the file; None for none.
        echo: print the lines too, for runs whose output is not a terminal.
    """

    def __init__(self, path: Path | None, echo: bool) -> None:
        self.path = path
        self.echo = echo
        self._started = 0.0
        self._ended: str | None = None  # the number and the seconds of an epoch that is over, its line not yet written
        self._validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time; where a run goes on, take lines out of epochs that are to be trained again."""
        self._started = time.perf_counter()
        if self.path is None or not self.path.is_file() or not trainer.is_global_zero:
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        number = {line: re.match(r"epoch (\d+)", line) for line in lines}
        kept = [line for line in lines if (found := number[line]) is None or int(found[1]) <= trainer.current_epoch]
        with whole_file(self.path) as unfinished:
            unfinished.write_text("".join(kept), encoding="utf-8")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line of the epoch before, and note the time."""
        self._write(trainer)
        self._started, self._validated = time.perf_counter(), False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has scores of its own on validation data."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch is over."""
        number = str(trainer.current_epoch + 1) + (f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else "")
        self._ended = f"epoch {number}{{}}  {time.perf_counter() - self._started:.1f} s"
        if self._validated:  # else what the model logs next is not known yet
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line of the last epoch."""
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the line of the last whole epoch."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if self._ended is None or not trainer.is_global_zero:
            return
        seen = ("train/", "val/") if self._validated else ("train/",)
        shown = [item for item in sorted(trainer.callback_metrics.items()) if item[0].startswith(seen)]
        line = self._ended.format("".join(f"  {name} {value.item():.4f}" for name, value in shown))
        self._ended = None
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if self.echo:
            print(line, file=sys.stdout, flush=True)
