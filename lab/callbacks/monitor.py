"""A check, before the first epoch, that the score by which the best epoch is chosen will exist."""

import difflib

from lightning.pytorch import Callback, LightningModule, Trainer


class MonitorCheck(Callback):
    """Stops a run whose monitored score is not among those logged, once the trainer has tried a validation batch.

    Args:
        monitor: name of the score, such as ``val/accuracy``.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self._an_epoch_is_over = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that there will be validation, if a score of it is to choose by.

        Raises:
            ValueError: naming the option that leaves it out.
        """
        never = trainer.max_epochs not in (None, -1) and (trainer.check_val_every_n_epoch or 1) > trainer.max_epochs
        every = f"check_val_every_n_epoch {trainer.check_val_every_n_epoch}"
        without = "limit_val_batches 0" if not trainer.limit_val_batches else every if never else ""
        if without and trainer.max_epochs and self.monitor.startswith("val/"):
            raise ValueError(
                f"trainer.{without} leaves no validation to choose the best epoch by: set callbacks.monitor train/loss, or "
                "callbacks.checkpoints and callbacks.early_stopping to false"
            )

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with what was logged; averages over training are not there yet.

        Raises:
            ValueError: naming the nearest score that is logged, and all of them.
        """
        if not self.monitor.startswith("train/"):
            self._check(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare again, and stop where there is nothing to choose an epoch by.

        Raises:
            ValueError: as before; or if the score or a loss is not a finite number, with the likely cause.
        """
        if trainer.sanity_checking:
            return
        self._check(trainer, pl_module)
        scores = trainer.callback_metrics
        for name in (name for name in ("train/loss", "val/loss") if name in scores and not scores[name].isfinite()):
            raise ValueError(f"{name} is {scores[name].item()}: training has diverged; lower the learning rate")
        if not scores[self.monitor].isfinite():
            raise ValueError(
                f"{self.monitor} is {scores[self.monitor].item()}: the validation images do not tell, as where no two "
                "are of one class; raise data.validation_size"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that all that is averaged over an epoch will now be there."""
        self._an_epoch_is_over = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare where there is no validation after which to do so.

        Raises:
            ValueError: as before.
        """
        if self._an_epoch_is_over and self.monitor.startswith("train/"):
            self._check(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare after the only epoch.

        Raises:
            ValueError: as before.
        """
        self.on_train_epoch_start(trainer, pl_module)

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = sorted(trainer.callback_metrics)
        if self.monitor in logged:
            return
        near = difflib.get_close_matches(self.monitor, logged, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"callbacks.monitor {self.monitor!r} is not logged by {type(pl_module).__name__}; {hint}"
            f"It logs {', '.join(logged) or 'nothing while validating'}"
        )
