"""What all families share: the three steps, logging, the optimizer, and a checkpoint that needs nothing else."""

import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import Metric

from lab.metrics import Averages, EmbeddingMetrics
from lab.models.recipe import family_recipe
from lab.models.schedule import check_schedule, optimizer_and_schedule

Batch = tuple[Tensor, Tensor]


class Family(LightningModule):
    """A family writes ``__init__``, ``forward`` and ``step``; what ``step`` returns is logged under the stage's name.

    Args:
        optimizer: makes an optimizer of parameters, such as ``functools.partial(torch.optim.Adam, lr=1e-3)``.
        scheduler: makes a learning rate scheduler of an optimizer, or None. One that takes ``total_steps``, such as
            ``OneCycleLR``, is told them and advances every step, any other every epoch.
    """

    monitor = "val/loss"  # by which the best epoch is chosen, unless the run names another
    metrics: EmbeddingMetrics | None  # of a family that embeds, which updates it in ``step`` while evaluating

    def __init__(self, optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are modules among the arguments: they are described next
            self.save_hyperparameters()
        described = family_recipe(type(self), dict(self.hparams))
        self.hparams.clear()
        self.save_hyperparameters(described)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.metrics = None
        self.train_averages, self.evaluation_averages = Averages(), Averages()

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ``loss`` of a batch, and whatever else is to be averaged over the images, each a scalar by name."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Take one step; its values are averaged as ``train/``, and its loss is logged now and then as ``train/loss_step``."""
        values = self.step(batch)
        self.train_averages.update(values, len(batch[1]))
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and self.global_step % every == 0:
            for logger in self.loggers:
                logger.log_metrics({"train/loss_step": values["loss"].item()}, self.global_step)
        return values["loss"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score one batch, for ``val/``."""
        self.evaluation_averages.update(self.step(batch), len(batch[1]))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch, for ``test/``; those of a second loader are the gallery, which only embeddings have a use for."""
        if dataloader_idx == 0:
            self.validation_step(batch, batch_idx)
        elif self.metrics is not None:
            self.metrics.update(self(batch[0]), batch[1], in_gallery=True)

    def on_train_epoch_end(self) -> None:
        """Log what was averaged since the last validation."""
        self._log("train", self.train_averages)

    def on_validation_epoch_end(self) -> None:
        """Log the averages, those of training too, and the scores of the embedding."""
        self._log("train", self.train_averages)
        self._log("val", self.evaluation_averages, self.metrics)

    def on_test_epoch_end(self) -> None:
        """Log the averages and the scores of the embedding."""
        self._log("test", self.evaluation_averages, self.metrics)

    def configure_optimizers(self) -> Any:
        """Make the optimizer and the scheduler."""
        return optimizer_and_schedule(self, self.optimizer, self.scheduler)

    def on_train_start(self) -> None:
        """Make sure that the schedule of a checkpoint, where training goes on from one, is as long as the run."""
        check_schedule(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how the data prepares an image for this model, and where the random numbers are (dropout draws them)."""
        if hasattr(self.trainer, "datamodule") and hasattr(self.trainer.datamodule, "state_dict"):
            checkpoint["preparation"] = self.trainer.datamodule.state_dict()
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the data prepare images as those that the model was trained on."""
        if self._trainer is None:
            return
        if "preparation" in checkpoint and hasattr(self.trainer.datamodule, "load_state_dict"):  # type: ignore[attr-defined]
            self.trainer.datamodule.load_state_dict(checkpoint["preparation"])  # type: ignore[attr-defined]
        if self.trainer.state.fn == "fit" and "random_state" in checkpoint:
            torch.set_rng_state(checkpoint["random_state"])

    def _log(self, stage: str, *metrics: Metric | None) -> None:
        for metric in metrics:
            if metric is not None and metric.update_called:
                for name, value in metric.compute().items():
                    self.log(f"{stage}/{name}", value, prog_bar=f"{stage}/{name}" in ("train/loss", self.monitor))
                metric.reset()
