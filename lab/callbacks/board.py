"""What TensorBoard is shown beside curves: pictures, the configuration, the graph, hyperparameters with scores, embeddings."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from torch import Tensor

from lab.callbacks.graph import graph_of
from lab.configuration import dotted_keys
from lab.metrics import EmbeddingMetrics

log = logging.getLogger(__name__)
MAX_SPRITE = 8192  # side in pixels of the largest picture of thumbnails that TensorBoard shows
THUMBNAIL = 32
OF_THE_RUN = ("seed_everything", "trainer.max_epochs", "trainer.max_steps", "trainer.precision")


def boards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Return the TensorBoard loggers of a run."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_picture(trainer: Trainer, name: str, png: bytes) -> None:
    """Add a PNG picture to TensorBoard, where the run logs to it."""
    for board in boards(trainer):
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        board.experiment.add_image(name, pixels, trainer.global_step, dataformats="HWC")


class Board(Callback):
    """Shows TensorBoard the configuration and the graph, and after a test the embedding, and all settings with the scores.

    Args:
        config: the file of the resolved configuration.
        num_embedded: test images in the embedding projector, at most.
    """

    def __init__(self, config: Path, num_embedded: int = 1_000) -> None:
        self.config = config
        self.num_embedded = num_embedded
        self._images: Tensor | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the configuration as text."""
        if trainer.is_global_zero and self.config.is_file():
            text = self.config.read_text(encoding="utf-8")
            for board in boards(trainer):
                board.experiment.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep two images to find the graph by."""
        if self._images is None:
            self._images = batch[0][:2].clone()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the graph of the network."""
        if self._images is None or not trainer.is_global_zero:
            return
        for board in boards(trainer):
            self._add_graph(board, pl_module, self._images)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the embedding of test images with thumbnails, and the settings beside the final scores."""
        if not trainer.is_global_zero:
            return
        scores = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        try:
            self._add_results(trainer, pl_module, scores)
        except Exception as error:  # which must not cost the scores
            log.warning("TensorBoard has no embedding or settings of this run: %s: %s", type(error).__name__, error)

    def _add_results(self, trainer: Trainer, pl_module: LightningModule, scores: dict[str, float]) -> None:
        for board in boards(trainer):
            settings = yaml.safe_load(self.config.read_text(encoding="utf-8")) if self.config.is_file() else {}
            board.log_hyperparams(
                _of_the_experiment(settings), {name: score for name, score in scores.items() if score == score}
            )
            self._add_embedding(board, pl_module, trainer)

    def _add_graph(self, board: TensorBoardLogger, model: LightningModule, images: Tensor) -> None:
        try:
            graph = graph_of(model, images)
        except Exception as error:  # which must not cost the test
            log.warning("TensorBoard has no graph of this network: %s: %s", type(error).__name__, error)
            return
        board.experiment.file_writer.add_event(Event(graph_def=graph.SerializeToString()))

    def _add_embedding(self, board: TensorBoardLogger, model: LightningModule, trainer: Trainer) -> None:
        metrics: Any = model.metrics
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(metrics, EmbeddingMetrics) or metrics.results is None or not hasattr(data, "evaluated"):
            return
        tests = data.evaluated("test")
        if len(metrics.results.labels) != len(tests):
            return
        num = min(self.num_embedded, len(tests), (MAX_SPRITE // THUMBNAIL) ** 2)
        images, labels = tests[:num]
        thumbnails = torch.nn.functional.interpolate(
            images.float() / 255, (THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True
        )
        names = [tests.class_names[int(label)] for label in labels]
        board.experiment.add_embedding(metrics.results.outputs[:num].cpu(), names, thumbnails.clamp(0, 1), tag="test_images")


def _of_the_experiment(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what is set of data, model and training, by dotted keys: more would not be seen for the columns."""
    known = {key: value for key, value in dotted_keys(settings).items() if value is not None and value != {}}
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in known.items()
        if key.startswith(("data", "model")) or key in OF_THE_RUN
    }
