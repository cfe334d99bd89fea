"""The callbacks of every run, each of which can be switched off by its name."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

from lab.callbacks.board import Board
from lab.callbacks.collapse import CollapseGuard
from lab.callbacks.compiled import Compile
from lab.callbacks.console import EpochLog, ModelTable, RunProgressBar, StepLoss
from lab.callbacks.finite import FiniteLoss
from lab.callbacks.freeze import Freeze
from lab.callbacks.idle import without_idle_hooks
from lab.callbacks.keeper import Best, Keeper
from lab.callbacks.max_norm import MaxNorm, Weights
from lab.callbacks.monitor import MonitorCheck
from lab.callbacks.pictures import Pictures
from lab.callbacks.remembered import RememberFeatures


def direction(monitor: str, mode: Literal["min", "max"] | None = None) -> Literal["min", "max"]:
    """Return which of a score is best: what the run says, or the lowest of a loss or an error rate, the highest of others."""
    return mode or ("min" if monitor.rpartition("/")[2] in ("loss", "eer") else "max")


def default_callbacks(
    run_folder: Path | None,
    monitor: str | None = None,
    mode: Literal["min", "max"] | None = None,
    patience: int = 10,
    checkpoints: bool = True,
    save_every_n_steps: int | None = 500,
    collapse_guard: bool = True,
    collapse_remedy: Literal["none", "auto"] = "none",
    finite_loss: bool = True,
    freeze: list[str] | None = None,
    max_norm: float | None = None,
    max_norm_weights: Weights = "incoming",
    compile: str | None = None,
    remember_features: bool = True,
    early_stopping: bool = True,
    epoch_log: bool = True,
    step_loss: bool = True,
    learning_rate: bool = True,
    model_summary: bool = True,
    progress_bar: bool = True,
    pictures: bool = True,
    picture_classes: list[str] | None = None,
    board: bool = True,
) -> list[Callback]:
    """Make the callbacks of a run.

    Args:
        run_folder: where the run writes; None for a run that writes nothing.
        monitor: score by which the best epoch is chosen and training stops early; None for the family's own.
        mode: whether the highest (``max``) or the lowest (``min``) score is best; None for the lowest of a loss or an error
            rate and the highest of anything else.
        patience: validations, usually one an epoch, without a better score before training stops.
        checkpoints: keep ``checkpoints/best.ckpt``, of the best epoch, and ``checkpoints/last.ckpt``.
        save_every_n_steps: optimizer steps after which ``last.ckpt`` is written within an epoch; null for never.
        collapse_guard: say when the embeddings have collapsed to one point, why, and what to set.
        collapse_remedy: ``auto`` to begin again then, with easier triplets, or a lower rate.
        finite_loss: stop where the loss is NaN or infinite, and name the images.
        freeze: names of parts of the model that keep their weights, such as ``encoder`` or ``encoder.layers.1``.
        max_norm: scale weight vectors of the encoder down to this norm after each step; null for not doing so.
        max_norm_weights: which vectors: the weights ``incoming`` to a unit, or those ``outgoing`` from an input.
        compile: the backend of ``torch.compile`` by which encoders are compiled for training, such as ``inductor``, or
            ``cudagraphs`` on a GPU; null for not doing so, which was faster on the CPUs tried.
        remember_features: on a CPU, compute what a frozen convolutional encoder makes of an image once, and not in every epoch:
            of images that are not augmented, as many as 256 MiB of features hold; with ``compile`` it is not done.
        early_stopping: stop when ``patience`` is over; a schedule made for all epochs, such as one-cycle, is then cut short.
        epoch_log: one plain line an epoch in ``epochs.log``, printed too where the output is not a terminal.
        step_loss: log the loss of single steps.
        learning_rate: log the learning rate.
        model_summary: print the layers and their parameters.
        progress_bar: show progress where the output is a terminal.
        pictures: draw the network, a batch, learning curves and what the test found, in ``pictures/`` and in TensorBoard.
        picture_classes: names of the classes whose embeddings are drawn; None for the first ten.
        board: show TensorBoard the configuration, the graph, the embedding of test images and all settings with the scores.
    """
    if max_norm is None and max_norm_weights != "incoming":
        raise ValueError("callbacks.max_norm_weights has no effect without a bound: set callbacks.max_norm too")
    monitor = monitor or "val/loss"
    best_is, terminal, writes = direction(monitor, mode), sys.stdout.isatty(), run_folder is not None
    folder = run_folder or Path()
    chosen: tuple[tuple[bool, Callable[[], Callback]], ...] = (
        (early_stopping or checkpoints, lambda: MonitorCheck(monitor)),
        (finite_loss, lambda: FiniteLoss(run_folder, save_every_n_steps)),
        (collapse_guard, lambda: CollapseGuard(collapse_remedy)),
        (bool(freeze), lambda: Freeze(freeze or [])),
        (max_norm is not None, lambda: MaxNorm(max_norm or 0.0, max_norm_weights)),
        (compile is not None, lambda: Compile(compile or "")),
        (remember_features and compile is None, RememberFeatures),
        (early_stopping, lambda: EarlyStopping(monitor, mode=best_is, patience=patience, strict=False)),
        (epoch_log, lambda: EpochLog(run_folder and run_folder / "epochs.log", echo=not terminal)),
        (step_loss, StepLoss),
        (learning_rate and writes, LearningRateMonitor),
        (model_summary, lambda: ModelTable(max_depth=2)),
        (progress_bar and terminal, RunProgressBar),
        (pictures and writes, lambda: Pictures(folder / "pictures", picture_classes)),
        (board and writes, lambda: Board(folder / "config.yaml")),
        (
            checkpoints and writes,
            lambda: Best(folder / "checkpoints", "best", monitor, mode=best_is, enable_version_counter=False),
        ),
        (checkpoints and writes, lambda: Keeper(folder / "checkpoints", save_every_n_steps)),
    )
    return [without_idle_hooks(make()) for wanted, make in chosen if wanted]
