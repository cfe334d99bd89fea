"""What all families share: the three steps, logging, the optimizer, and a checkpoint that needs nothing else."""

import inspect
import warnings
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from lab.metrics import EmbeddingMetrics
from lab.models.recipe import family_recipe, made_by

Batch = tuple[Tensor, Tensor]


class Family(LightningModule):
    """A family writes ``__init__``, ``forward`` and ``step``; what ``step`` returns is logged under the stage's name.

    Args:
        optimizer: makes an optimizer of parameters, such as ``functools.partial(torch.optim.Adam, lr=1e-3)``.
        scheduler: makes a learning rate scheduler of an optimizer, or None. One that takes ``total_steps``, such as
            ``OneCycleLR``, is told them and advances every step, any other every epoch.
    """

    monitor = "val/loss"  # by which the best epoch is chosen, unless the run names another
    monitor_mode = "min"
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

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ``loss`` of a batch, and whatever else is to be averaged over the images, each a scalar by name."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Take one step and log it as ``train/``."""
        return self._logged("train", batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score one batch as ``val/``."""
        self._logged("val", batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch as ``test/``; those of a second loader are the gallery, which only embeddings have a use for."""
        if dataloader_idx == 0:
            self._logged("test", batch)
        elif self.metrics is not None:
            self.metrics.update(self(batch[0]), batch[1], in_gallery=True)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the embedding."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the embedding."""
        self._log_metrics("test")

    def configure_optimizers(self) -> Any:
        """Make the optimizer of all parameters that train, and the scheduler."""
        optimizer = self.optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        if self.scheduler is None:
            return optimizer
        takes_steps = "total_steps" in inspect.signature(made_by(self.scheduler)).parameters
        steps = {"total_steps": self.trainer.estimated_stepping_batches} if takes_steps else {}
        scheduler = {"scheduler": self.scheduler(optimizer, **steps), "interval": "step" if takes_steps else "epoch"}
        return {"optimizer": optimizer, "lr_scheduler": {"monitor": self.monitor, **scheduler}}

    def _logged(self, stage: str, batch: Batch) -> Tensor:
        values = self.step(batch)
        named = {f"{stage}/{name}": value.detach() for name, value in values.items()}
        options: dict[str, Any] = {"batch_size": len(batch[1]), "sync_dist": stage != "train"}
        self.log_dict(named, on_step=False, on_epoch=True, add_dataloader_idx=False, **options)
        return values["loss"]

    def _log_metrics(self, stage: str) -> None:
        if self.metrics is not None:
            self.log_dict({f"{stage}/{name}": value for name, value in self.metrics.compute().items()}, sync_dist=True)
            self.metrics.reset()
