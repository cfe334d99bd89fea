"""What all families share: the three steps, logging, the optimizer, and a checkpoint that needs nothing else."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lab.metrics import Averages, Collected
from lab.models.logged import log_scores
from lab.models.needs import check_needs
from lab.models.recipe import family_recipe
from lab.models.schedule import check_makers, check_schedule, optimizer_and_schedule
from lab.models.spare import forget_gradients, set_attribute, spare_questions
from lab.models.surroundings import add_surroundings, restore_surroundings

Batch = tuple[Tensor, Tensor]


class Family(LightningModule):
    """A family writes ``__init__``, ``forward`` and ``step``; what ``step`` returns is logged under the stage's name.

    Args:
        optimizer: makes an optimizer of parameters, such as ``functools.partial(torch.optim.Adam, lr=1e-3)``.
        scheduler: makes a learning rate scheduler of an optimizer, or None. One that takes ``total_steps``, such as
            ``OneCycleLR``, is told them and advances every step, any other every epoch.
    """

    monitor = "val/loss"  # by which the best epoch is chosen, unless the run names another
    needs_pairs = False  # whether it learns from images of one class in one batch
    needs_known_classes = False  # whether it can be scored on nothing but the classes it was trained on
    metrics: Collected  # which ``step`` updates while evaluating
    __setattr__, optimizer_zero_grad = set_attribute, forget_gradients

    def __init__(self, optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None) -> None:
        super().__init__()
        check_makers(optimizer, scheduler)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are modules among the arguments: they are described next
            self.save_hyperparameters()
        described = family_recipe(type(self), dict(self.hparams))
        self.hparams.clear()
        self.save_hyperparameters(described)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.metrics = Collected()
        self.train_averages, self.evaluation_averages = Averages(), Averages()
        self._with_penalty: list[Any] = []  # networks that add to the loss, as by the size of their weights

    @classmethod
    def encoder_image_shape(cls, image_shape: Sequence[int], settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape of what the encoder sees of an image, for arguments of this class as a config gives them."""
        return tuple(image_shape)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ``loss`` of a batch and what else is to be averaged, by name; ``num_averaged``, if not one an image."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Take one step; its values are averaged as ``train/``."""
        values = self.step(batch)
        for part in self._with_penalty:
            values["loss"] = values["loss"] + part.penalty()
        self.train_averages.update(values, len(batch[1]))
        return values["loss"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score one batch, for ``val/``."""
        self.evaluation_averages.update(self.step(batch), len(batch[1]))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch, for ``test/``; those of further loaders are what the images are compared with."""
        part = self.metrics.part(dataloader_idx, getattr(self._trainer, "datamodule", None))
        if part == "images":
            self.validation_step(batch, batch_idx)
        elif part in self.metrics.parts:
            self.metrics.update(self(batch[0]), batch[1], part)

    def on_train_epoch_end(self) -> None:
        """Log what was averaged since the last validation."""
        log_scores(self, "train", self.train_averages)

    def on_validation_epoch_end(self) -> None:
        """Log the averages, those of training too, and the scores of the outputs."""
        log_scores(self, "train", self.train_averages)
        log_scores(self, "val", self.evaluation_averages, self.metrics)

    def on_test_epoch_end(self) -> None:
        """Log the averages and the scores of the outputs."""
        log_scores(self, "test", self.evaluation_averages, self.metrics)

    def configure_optimizers(self) -> Any:
        """Make the optimizer and the scheduler."""
        return optimizer_and_schedule(self, self.optimizer, self.scheduler)

    def setup(self, stage: str) -> None:
        """Make sure that the data are such as this family needs."""
        check_needs(self, getattr(self._trainer, "datamodule", None))

    def on_train_start(self) -> None:
        """Make sure that the schedule of a checkpoint, where training goes on from one, is as long as the run."""
        check_schedule(self.trainer)
        spare_questions(type(self))
        self._with_penalty = [part for part in self.modules() if callable(getattr(part, "penalty", None))]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how the data prepares an image for this model, and where the random numbers are (dropout draws them)."""
        add_surroundings(checkpoint, self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the data prepare images as those that the model was trained on."""
        restore_surroundings(checkpoint, self)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, map_location: Any = None, **arguments: Any) -> "Family":  # type: ignore[override]
        """Do as ``lab.models.load`` does: Lightning's own would make any class that a checkpoint names."""
        from lab.models.checkpoint import load_as

        arguments.pop("weights_only", None)  # as it always is
        return load_as(cls, checkpoint_path, **arguments).to(map_location)


def embedding_size_of(encoder: nn.Module, given: int | None = None) -> int:
    """Return the length of an encoder's outputs, which is given for one that does not say.

    Raises:
        ValueError: if it is not known, or said differently.
    """
    size = getattr(encoder, "embedding_size", given)
    name = type(encoder).__name__
    if given is not None and given != size:
        raise ValueError(f"model.embedding_size {given} is not that of {name}, {size}: leave it out, or change the encoder's")
    if not isinstance(size, int):
        raise ValueError(f"model.encoder: {name} has no embedding_size; give it that attribute, or set model.embedding_size")
    return size
