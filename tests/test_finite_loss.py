import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import PROJECT, Script

from lab.callbacks.finite import FiniteLoss

FAULTY = """
import torch

class Poisoned(torch.nn.CrossEntropyLoss):
    '''Gives what is no number from its nth training batch on.'''
    def __init__(self, batch: int = 5, value: str = "nan"):
        super().__init__()
        self.batch, self.value, self.seen = batch, value, 0

    def forward(self, logits, labels):
        loss = super().forward(logits, labels)
        self.seen += torch.is_grad_enabled()
        return loss * float(self.value) if self.seen == self.batch else loss
"""


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch_and_its_images(
    value: str, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "poisoned.py").write_text(FAULTY)
    small = ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", ".", "--callbacks.pictures", "false",
             "--callbacks.board", "false", "--data.num_images_per_class", "40", "--model.encoder.width", "4"]  # fmt: skip
    loss = ["--model.loss", "poisoned.Poisoned", "--model.loss.batch", "6", "--model.loss.value", value]
    save = ["--callbacks.save_every_n_steps", "1", "--data.batch_size", "50"]
    done = script("fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *small, *loss, *save)
    assert done.returncode == 2
    run = tmp_path / "classifier" / "version_0"
    assert done.stderr.splitlines()[-1].startswith(
        f"error: the loss is {value} in epoch 1, batch 5; {run}/not_finite.json lists"
    )
    record: dict[str, Any] = json.loads((run / "not_finite.json").read_text())
    assert (record["epoch"], record["batch"], record["step"], record["loss"]) == (1, 5, 6, value)
    assert len(set(record["indices"])) == 50
    assert all(0 <= index < 400 for index in record["indices"])
    state = json.loads((run / "state.json").read_text())
    assert state["state"] == "failed"
    assert f"the loss is {value}" in state["reason"]
    kept = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 5
    assert all(value.isfinite().all() for name, value in kept["state_dict"].items() if name.startswith("encoder"))


class LossOnAGpu:
    """Says that it is on a GPU, and counts how often that has to be waited for."""

    device = torch.device("cuda")
    times_read = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def detach(self) -> "LossOnAGpu":
        return self

    def item(self) -> float:
        type(self).times_read += 1
        return self.value


def test_on_a_gpu_losses_are_looked_at_together_and_the_first_that_is_no_number_is_named() -> None:
    callback = FiniteLoss(None, save_every_n_steps=500)
    trainer: Any = SimpleNamespace(world_size=1, current_epoch=0, is_last_batch=False, train_dataloader=None)
    trainer.strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)

    def end_batch(number: int, loss: float) -> None:
        trainer.global_step = number + 1
        callback.on_train_batch_end(trainer, None, {"loss": LossOnAGpu(loss)}, None, number)  # type: ignore[arg-type]

    for number in range(10):
        assert LossOnAGpu.times_read == 0
        end_batch(number, 1.0)
    assert LossOnAGpu.times_read == 10  # at once
    end_batch(10, 1.0)
    trainer.is_last_batch = True
    end_batch(11, 1.0)
    assert LossOnAGpu.times_read == 12  # an epoch ends with none left
    trainer.is_last_batch = False
    for number in range(12, 19):
        end_batch(number, float("nan") if number in (14, 17) else 1.0)
    with pytest.raises(ValueError, match="the loss is nan in epoch 1, batch 14"):
        end_batch(19, 1.0)
    with pytest.raises(ValueError, match="the loss is inf in epoch 1, batch 0"):
        FiniteLoss(None, save_every_n_steps=1).on_train_batch_end(trainer, None, {"loss": LossOnAGpu(float("inf"))}, None, 0)  # type: ignore[arg-type]
