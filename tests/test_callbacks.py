import os
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from lab.callbacks.console import EpochLog
from lab.callbacks.defaults import default_callbacks
from lab.callbacks.finite import FiniteLoss
from lab.callbacks.idle import BATCH_HOOKS
from lab.callbacks.monitor import MonitorCheck
from lab.data import Synthetic
from lab.models import Classifier
from lab.nets import MLP


def _fit(callbacks: list[pl.Callback], lr: float = 1e-3, **options: int) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **options,  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    model = Classifier(MLP(hidden_sizes=(4,)), 3, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=lr))
    trainer.fit(model, Synthetic(num_classes_made=3, num_train_images=60, num_test_images=9, batch_size=10))
    return trainer


def test_a_line_of_the_epoch_log_holds_the_scores_of_its_own_epoch(tmp_path: Path) -> None:
    class Kept(pl.Callback):
        losses: list[str] = []

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch:
                self.losses.append(f"train/loss {trainer.callback_metrics['train/loss'].item():.4f}")

    kept = Kept()
    _fit([kept, EpochLog(tmp_path / "epochs.log", echo=False)], max_epochs=4, check_val_every_n_epoch=2)
    lines = (tmp_path / "epochs.log").read_text().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/4", "epoch 2/4", "epoch 3/4", "epoch 4/4"]
    assert ["val/loss" in line for line in lines] == [False, True, False, True]
    assert len(set(kept.losses)) == 3
    assert all(loss in line for loss, line in zip(kept.losses, lines[:3], strict=True))


def test_callbacks_are_not_called_every_step_for_nothing_but_for_what_they_do() -> None:
    callbacks = {type(callback): callback for callback in default_callbacks(Path("run"))}
    for kind, callback in callbacks.items():
        for hook in BATCH_HOOKS:
            does_something = any(hook in vars(base) for base in kind.__mro__[: kind.__mro__.index(pl.Callback)])
            assert callable(getattr(callback, hook)) == does_something, (kind, hook)
    assert callable(callbacks[FiniteLoss].on_train_batch_end)
    assert callbacks[FiniteLoss].on_before_backward is None
    assert callable(FiniteLoss(None).on_before_backward)  # the class is as it was


def test_where_there_is_no_gpu_no_driver_is_looked_for_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # as Lightning does
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    _fit([], max_epochs=1)
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _fit([], max_epochs=1)
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "0"


@pytest.mark.parametrize("monitor", ["train/los", "val/acuracy"])
def test_a_score_that_is_never_logged_is_found_without_a_sanity_check_too(monitor: str) -> None:
    with pytest.raises(ValueError, match=rf"callbacks\.monitor '{monitor}' is not logged by Classifier; did you mean"):
        _fit([MonitorCheck(monitor)], max_epochs=3, num_sanity_val_steps=0)


def test_an_average_over_training_may_be_monitored() -> None:
    assert _fit([MonitorCheck("train/loss")], max_epochs=2).current_epoch == 2


def test_training_that_diverged_stops_with_the_likely_cause() -> None:
    with pytest.raises(ValueError, match=r"train/loss is (nan|inf): training has diverged; lower the learning rate"):
        _fit([MonitorCheck("val/accuracy")], lr=1e30, max_epochs=5)


@pytest.mark.parametrize(("monitor", "mode"), [("val/loss", "min"), ("test/eer", "min"), ("val/map@r", "max")])
def test_the_best_of_a_loss_or_error_rate_is_its_lowest_and_of_others_their_highest(
    tmp_path: Path, monitor: str, mode: str
) -> None:
    choosing = [callback for callback in default_callbacks(tmp_path, monitor) if getattr(callback, "monitor", None) == monitor]
    modes = [callback.mode for callback in choosing if hasattr(callback, "mode")]
    assert modes == [mode, mode]


def test_the_last_checkpoint_is_of_the_last_epoch_whichever_was_best(tmp_path: Path) -> None:
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=default_callbacks(tmp_path, "val/loss", mode="max", learning_rate=False, model_summary=False),
    )
    model = Classifier(MLP(hidden_sizes=(4,)), 3)
    trainer.fit(model, Synthetic(num_classes_made=3, num_train_images=60, num_test_images=9, batch_size=10))
    epochs = [torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")]
    assert epochs == [0, 2]
    assert trainer.checkpoint_callback is not None
    assert str(trainer.checkpoint_callback.best_model_path).endswith("best.ckpt")  # type: ignore[attr-defined]
