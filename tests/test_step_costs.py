"""What is done at every step in less time must do what it stands for."""

import copy
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import PROJECT
from torch.utils.data import DataLoader

from lab.callbacks.collapse import CollapseGuard
from lab.data import Synthetic, loader
from lab.data.arrays import ImageArrays
from lab.data.batches import RandomBatches
from lab.data.loader import BatchLoader
from lab.data.views import taken
from lab.metrics import Averages
from lab.models import Classifier
from lab.models.spare import forget_gradients
from lab.nets import MLP

FUSED = [torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad]


def _model(optimizer: Any = torch.optim.Adam) -> Classifier:
    return Classifier(MLP((1, 6, 6), (8,), 5), 5, optimizer=optimizer)


@pytest.mark.parametrize("kind", FUSED)
def test_the_step_of_an_optimizer_is_taken_at_once_and_is_that_of_its_loop(kind: Any) -> None:
    model = _model(partial(kind, lr=0.01, weight_decay=0.1))
    other, before = copy.deepcopy(model), copy.deepcopy(model)
    fused, loop = model.configure_optimizers(), kind(other.parameters(), lr=0.01, weight_decay=0.1, foreach=False)
    assert fused.param_groups[0]["fused"] is True
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            ours.grad = torch.randn(ours.shape, generator=generator)
            theirs.grad = ours.grad.clone()
        fused.step()
        loop.step()
    for ours, theirs, first in zip(model.parameters(), other.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert not torch.equal(ours, first)


@pytest.mark.parametrize("said", [{"fused": False}, {"foreach": True}, {"foreach": False}, {"differentiable": True}])
def test_how_a_step_is_taken_is_left_to_a_user_who_says_it(said: dict[str, Any]) -> None:
    group = _model(partial(torch.optim.Adam, **said)).configure_optimizers().param_groups[0]
    assert not group["fused"]
    assert {name: group[name] for name in said} == said


def test_optimizers_without_such_a_step_and_numbers_it_cannot_take_are_as_they_come() -> None:
    assert _model(torch.optim.RMSprop).configure_optimizers().param_groups[0]["foreach"] is None
    assert not _model(torch.optim.SGD).configure_optimizers().param_groups[0]["fused"]
    model = _model()
    model.register_parameter("turns", torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64)))
    assert not model.configure_optimizers().param_groups[0]["fused"]


def test_gradients_are_clipped_in_mixed_precision_on_a_cpu(tmp_path: Path) -> None:
    data = Synthetic(num_classes_made=5, num_train_images=40, num_test_images=10, stored_shape=(1, 6, 6), batch_size=10)
    quiet: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    for precision, is_fused in (("bf16-mixed", False), ("32-true", True)):
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", precision=precision, gradient_clip_val=0.1, **quiet)  # type: ignore[arg-type]
        trainer.fit(_model(), data)
        assert bool(trainer.optimizers[0].param_groups[0]["fused"]) == is_fused
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", precision="bf16-mixed", **quiet)
    trainer.fit(_model(), data)
    assert trainer.optimizers[0].param_groups[0]["fused"] is True


def test_gradients_are_forgotten_by_an_optimizer_in_its_own_way() -> None:
    asked = []

    class Own(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            asked.append(set_to_none)

    model = _model(partial(Own, lr=0.1))
    forget_gradients(model, 0, 0, model.configure_optimizers())
    assert asked == [True]


def test_gradients_are_forgotten() -> None:
    model = _model()
    optimizer = model.configure_optimizers()
    model.step((torch.rand(3, 1, 6, 6), torch.arange(3)))["loss"].backward()
    assert any(parameter.grad is not None for parameter in model.parameters())
    forget_gradients(model, 0, 0, optimizer)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "index", [torch.tensor([3, 0, 3]), torch.tensor([], dtype=torch.int64), torch.tensor(2), 4, slice(1, 3)]
)
def test_what_is_taken_is_what_is_indexed(index: Any) -> None:
    values = torch.randint(0, 256, (6, 2, 3, 3), dtype=torch.uint8)
    assert torch.equal(taken(values, index), values[index])
    mask = torch.tensor([True, False, True, True, False, False])
    assert torch.equal(taken(values, mask), values[mask])


def test_a_loader_yields_the_batches_of_its_sampler_as_pytorchs_would_and_draws_nothing() -> None:
    labels = torch.arange(50) % 5
    arrays = ImageArrays(torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8), labels, list("abcde"))
    batches = RandomBatches(labels, 8, seed=3)
    own = BatchLoader(arrays, sampler=batches)
    usual: Any = DataLoader(arrays, batch_size=None, sampler=batches, collate_fn=lambda batch: batch)
    before = torch.get_rng_state()
    ours = list(own)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(own) == len(ours) == 6
    for (images, of_images), (their_images, theirs) in zip(ours, usual, strict=True):
        assert torch.equal(images, their_images)
        assert torch.equal(of_images, theirs)
    batches.set_epoch(1)
    assert not torch.equal(torch.cat([labels for _, labels in own]), torch.cat([labels for _, labels in ours]))


def _trained_on(device: str) -> Any:
    return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))


def test_images_lie_on_a_device_with_room_for_them_where_batches_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.arange(50) % 5
    arrays = ImageArrays(torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8), labels, list("abcde"))
    chosen = arrays.select(torch.arange(49, -1, -2))
    batches = RandomBatches(chosen.labels, 8)
    expected = list(BatchLoader(chosen, sampler=batches))
    assert loader.resident(chosen, _trained_on("cpu")) is loader.resident(chosen, None) is chosen  # where they lie already
    monkeypatch.setattr(loader, "room_on", lambda device: 25 * 16)
    monkeypatch.setattr(loader, "MOVED_AT_ONCE", 7)
    on_another = BatchLoader(loader.resident(chosen, _trained_on("meta")), sampler=batches)  # which has shapes, but no memory
    for (images, of_images), (_, theirs) in zip(on_another, expected, strict=True):
        assert images.device.type == of_images.device.type == "meta"
        assert images.shape == (8, 1, 4, 4)
        assert theirs.device.type == "cpu"
    moved = loader.resident(chosen, _trained_on("cpu"))
    assert moved is not chosen
    for (images, of_images), (same, theirs) in zip(BatchLoader(moved, sampler=batches), expected, strict=True):
        assert torch.equal(images, same)
        assert torch.equal(of_images, theirs)
    monkeypatch.setattr(loader, "room_on", lambda device: 25 * 16 - 1)
    assert loader.resident(chosen, _trained_on("meta")) is chosen


def test_a_quarter_of_what_is_free_on_a_gpu_is_for_images_and_a_cpu_has_no_other_place_for_them(monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1_000, 4_000))
    assert loader.room_on(torch.device("cuda", 0)) == 250
    assert loader.room_on(torch.device("cpu")) == 0


def test_lightning_can_make_a_loader_again_to_predict_with(tmp_path: Path) -> None:
    class Predicted(Synthetic):
        def predict_dataloader(self) -> BatchLoader:
            return self.test_dataloader()[0]

    class Predicting(Classifier):
        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch[0])

    data = Predicted(num_train_images=40, num_test_images=10, stored_shape=(1, 6, 6), validation_size=10, batch_size=4)
    quiet: Any = {"logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path}
    found = pl.Trainer(accelerator="cpu", **quiet).predict(Predicting(MLP((1, 6, 6), (8,), 5), 5), data)
    assert [len(part) for part in found or []] == [4, 4, 2]


def test_fewer_images_than_devices_are_refused() -> None:
    batches = RandomBatches(torch.zeros(1, dtype=torch.int64), 4, rank=0, world_size=2)
    with pytest.raises(ValueError, match="1 images cannot be shared out to 2 devices, use fewer"):
        next(batches.draw())


def test_what_a_rank_takes_up_is_gathered_in_the_order_of_one_that_begins() -> None:
    values = {"loss": torch.tensor(1.0), "accuracy": torch.tensor(0.5)}
    first, resumed = Averages(), Averages()
    first.update(values, 3)
    resumed.restore(first.kept())
    resumed.update(values, 3)
    assert list(first._reductions) == list(resumed._reductions) == ["weights", "values_accuracy", "values_loss"]


@pytest.mark.parametrize(("num_steps", "every"), [(5, 10), (80, 10), (160, 20), (211, 26), (10_000, 50), (float("inf"), 50)])
def test_a_collapse_is_looked_for_eight_times_an_epoch_within_bounds(num_steps: float, every: int) -> None:
    assert CollapseGuard._every(SimpleNamespace(num_training_batches=num_steps)) == every  # type: ignore[arg-type]


def test_pixels_are_scaled_once_more_by_what_a_checkpoint_was_trained_with() -> None:
    data = Synthetic(num_train_images=40, num_test_images=10, stored_shape=(1, 4, 4), validation_size=10)
    data.setup()
    images = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)
    first = data.on_after_batch_transfer((images, torch.zeros(2)), 0)[0]
    torch.testing.assert_close(first, (torch.tensor(0.2) - data.mean).div(data.std).expand(2, 1, 4, 4))
    data.load_state_dict({**data.state_dict(), "mean": [0.0], "std": [1.0]})
    assert torch.equal(data.on_after_batch_transfer((images, torch.zeros(2)), 0)[0], images.float() * (1 / 255))


@pytest.mark.slow
def test_a_profiler_that_is_asked_for_reports(tmp_path: Path) -> None:
    words = [sys.executable, str(PROJECT / "scripts" / "fit.py"), "--config", str(PROJECT / "configs" / "classifier.yaml")]
    words += ["--data.num_images_per_class", "10", "--trainer.max_epochs", "1", "--callbacks.pictures", "false"]
    words += ["--trainer.accelerator", "cpu", "--trainer.profiler", "simple", "--trainer.default_root_dir", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run_training_epoch" in done.stderr


def test_a_training_step_of_ones_own_still_gets_what_it_asks_for(tmp_path: Path) -> None:
    seen: list[int] = []

    class Own(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(batch_idx)
            return super().training_step(batch, batch_idx)

    data = Synthetic(num_train_images=40, num_test_images=10, stored_shape=(1, 6, 6), validation_size=10, batch_size=10)
    model = Own(MLP((1, 6, 6), (8,), 5), data.num_classes)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    trainer.fit(model, data)
    assert seen == list(range(len(data.train_dataloader())))
