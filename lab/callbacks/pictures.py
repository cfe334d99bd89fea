"""Pictures of a run: what goes into the network, what the network is, how training went, and what a test found.

What draws is imported when something is drawn: it would double the time that every command takes to start.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lab.callbacks.board import add_picture
from lab.metrics import ClassificationMetrics, EmbeddingMetrics, Results
from lab.writing import whole_file

NUM_KEPT = 48
log = logging.getLogger(__name__)


class Pictures(Callback):
    """Draws figures into a folder, as PNG files, and into TensorBoard, where the run logs to it.

    A figure that cannot be drawn is said to be missing, and costs the run nothing else.

    Args:
        folder: where the files go.
        classes: names of the classes whose embeddings are drawn; None for the first ten.
    """

    def __init__(self, folder: Path, classes: list[str] | None = None) -> None:
        self.folder = folder
        self.classes = classes
        self.history: dict[str, tuple[list[float], list[float]]] = {}
        self._batch: tuple[Tensor, Tensor] | None = None
        self._validated = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the first batch as the network sees it: drawing would hold up training."""
        if self._batch is None and trainer.is_global_zero:
            self._batch = batch[0][:NUM_KEPT].clone(), batch[1][:NUM_KEPT].clone()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that there are scores of validation data."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of the scores of the epoch before."""
        self._note(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of the scores, where all are known."""
        if self._validated:
            self._note(trainer, trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the scores noted so far."""
        return {"history": {name: [list(epochs), list(values)] for name, (epochs, values) in self.history.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the scores of the epochs before."""
        self.history = {name: (list(epochs), list(values)) for name, (epochs, values) in state_dict["history"].items()}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the first batch, the network and the learning curves."""
        self._note(trainer, trainer.current_epoch)
        if self._batch is not None and trainer.is_global_zero:
            from lab.callbacks import drawn

            images, labels = self._batch
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            names, noise = getattr(data, "class_names", []), getattr(data, "label_noise", 0.0)
            self._show(trainer, "sample_batch", lambda: drawn.batch_figure(images, labels, names, noise))
            self._show(trainer, "network", lambda: drawn.network_figure(pl_module, images[:2]))
            best = self._best_epoch(getattr(trainer.checkpoint_callback, "monitor", None), trainer)
            self._show(trainer, "learning_curves", lambda: drawn.curves_figure(self.history, best))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the test found, of the weights that it was made with."""
        metrics: Any = pl_module.metrics
        results: Results | None = metrics.results
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        # A data set of one's own need not say which image is which, and part of a test not be drawn.
        known = hasattr(data, "evaluated") and results is not None and len(results.labels) == len(data.evaluated("test"))
        if not trainer.is_global_zero or results is None or not known:
            return
        from lab.callbacks import drawn

        show = partial(self._show, trainer)
        images, _ = data.on_after_batch_transfer(data.evaluated("test")[:2], 0)
        show("first_layer", lambda: drawn.weights_figure(pl_module, images.to(pl_module.device)))
        if isinstance(metrics, ClassificationMetrics):
            show("confusion", lambda: drawn.confusion_figure(results, data.class_names, getattr(data, "label_noise", 0.0)))
            show("worst_predictions", lambda: drawn.predictions_figure(results, data))
        if isinstance(metrics, EmbeddingMetrics):
            if results.pairs:
                show("roc_and_det", lambda: drawn.roc_figure(results, metrics))
                show("distances", lambda: drawn.distances_figure(results, metrics))
                show("probabilities", lambda: drawn.reliability_figure(results, metrics))
                show("hardest_pairs", lambda: drawn.pairs_figure(results, metrics, data))
            if metrics.search is not None:
                show("worst_queries", lambda: drawn.queries_figure(results, metrics, data))
        show("embeddings", lambda: drawn.embeddings_figure(pl_module, data, self.classes))

    def _note(self, trainer: Trainer, epoch: int) -> None:
        if epoch == 0:
            return
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") or (name.startswith("val/") and self._validated):
                epochs, values = self.history.setdefault(name, ([], []))
                if not epochs or epochs[-1] != epoch:
                    epochs.append(epoch)
                    values.append(value.item())
        self._validated = False

    def _best_epoch(self, monitor: str | None, trainer: Trainer) -> int | None:
        if monitor is None or monitor not in self.history:
            return None
        epochs, values = self.history[monitor]
        best = max if getattr(trainer.checkpoint_callback, "mode", "max") == "max" else min
        return int(epochs[values.index(best(values))])

    def _show(self, trainer: Trainer, name: str, draw: Callable[[], Any]) -> None:
        try:
            from lab import plots

            png = plots.png_bytes(draw())
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.folder / f"{name}.png") as unfinished:
                unfinished.write_bytes(png)
            add_picture(trainer, f"pictures/{name}", png)
        except Exception as error:
            log.warning("the picture %s could not be drawn: %s: %s", name, type(error).__name__, error)
