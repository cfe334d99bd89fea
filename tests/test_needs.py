import os
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from lab.data import Episodes, Synthetic
from lab.losses import PrototypicalLoss
from lab.losses.tuples import balanced_pairs
from lab.metrics import Evaluation
from lab.models import Classifier, Family, Siamese, Triplet, check_resume
from lab.nets import MLP

OFF: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def _trainer(max_epochs: int = 1, **settings: Any) -> pl.Trainer:
    return pl.Trainer(max_epochs=max_epochs, accelerator="cpu", **{**OFF, **settings})


def _refusal(model: Family, data: Synthetic) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        _trainer().fit(model, data)
    return str(caught.value)


@pytest.mark.parametrize("family", [Siamese, Triplet])
def test_a_family_that_learns_from_pairs_is_not_trained_where_no_batch_can_hold_one(family: type[Family]) -> None:
    model: Any = family
    alone = Synthetic(num_images_per_class=1, batch_size=10)
    assert "no two training images are" in _refusal(model(MLP(hidden_sizes=(4,))), alone)
    one_by_one = Synthetic(batch_size=1)
    assert "data.batch_size 1 leaves no two images of one class" in _refusal(model(MLP(hidden_sizes=(4,))), one_by_one)
    one_of_each = Synthetic(batch_size=10, samples_per_class=1)
    assert "data.samples_per_class 1 leaves no two" in _refusal(model(MLP(hidden_sizes=(4,))), one_of_each)


def test_a_classifier_needs_no_pairs() -> None:
    trainer = _trainer(limit_train_batches=2, limit_val_batches=1)
    trainer.fit(Classifier(MLP(hidden_sizes=(4,)), 10), Synthetic(num_images_per_class=1, batch_size=1))
    assert trainer.global_step == 2


def test_from_python_too_episodes_must_have_as_many_shots_as_the_loss_expects() -> None:
    data = Synthetic(episodes=Episodes(num_ways=5, num_shots=1, num_queries=3))
    model = Triplet(MLP(hidden_sizes=(4,)), PrototypicalLoss(num_shots=2))
    assert "model.loss.num_shots 2 and data.episodes.num_shots 1 must be the same number" in _refusal(model, data)


def test_an_optimizer_or_a_scheduler_in_place_of_what_makes_one_is_refused() -> None:
    net = MLP(hidden_sizes=(4,))
    optimizer = torch.optim.Adam(net.parameters())
    with pytest.raises(ValueError, match=r"optimizer: give what makes one, such as functools\.partial\(Adam, \.\.\.\)"):
        Triplet(net, optimizer=optimizer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"scheduler: give what makes one"):
        Triplet(net, scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 1))  # type: ignore[arg-type]


def test_the_data_take_the_seed_of_the_run_where_they_are_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert Synthetic().seed == 0
    pl.seed_everything(7)
    assert os.environ["PL_GLOBAL_SEED"] == "7"
    assert (Synthetic().seed, Synthetic(seed=3).seed) == (7, 3)


class _Mean(nn.Module):
    """Binary cross-entropy, whose mean over nothing is NaN."""

    takes = "pair_distances"

    def forward(self, distances: Tensor, same: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(-distances, same)


def test_a_batch_without_pairs_has_loss_zero_with_gradients_and_does_not_count_while_evaluating() -> None:
    torch.manual_seed(0)
    model = Siamese(MLP(hidden_sizes=(4,)), loss=_Mean())
    images = torch.rand(6, 1, 28, 28)
    model.step((images, torch.arange(6)))["loss"].backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.encoder.parameters())
    model.eval()
    with torch.no_grad():
        model.validation_step((images, torch.tensor([0, 0, 1, 1, 2, 2])), 0)
        alone = model.evaluation_averages.compute()
        model.validation_step((images[:1], torch.tensor([0])), 1)
        model.validation_step((images, torch.arange(6)), 2)
    assert model.evaluation_averages.compute() == alone
    assert alone["loss"] > 0.1


def test_the_loss_of_a_split_is_the_mean_over_its_pairs_however_many_each_batch_has() -> None:
    torch.manual_seed(1)
    model = Siamese(MLP(hidden_sizes=(4,)), loss=_Mean()).eval()
    images, labels = torch.rand(20, 1, 28, 28), torch.arange(20) % 4
    expected, num = 0.0, 0
    with torch.no_grad():
        for part in (slice(0, 5), slice(5, 20)):
            batch = (images[part], labels[part])
            model.validation_step(batch, 0)
            num_pairs = len(balanced_pairs(batch[1], 400, torch.Generator().manual_seed(0))[0])
            expected, num = expected + model.step(batch)["loss"].item() * num_pairs, num + num_pairs
    assert model.evaluation_averages.compute()["loss"].item() == pytest.approx(expected / num, rel=1e-5)


class _Given(nn.Module):
    """An encoder whose embeddings are given."""

    embedding_size = 8

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(embeddings)

    def forward(self, images: Tensor) -> Tensor:
        return self.embeddings * 1


def test_in_low_precision_the_gradients_of_an_images_many_pairs_are_added_up_in_float32() -> None:
    low = torch.randn(256, 8, generator=torch.Generator().manual_seed(2)).bfloat16()
    labels = torch.arange(256) % 10
    gradients = []
    for embeddings in (low, low.double()):
        model = Siamese(_Given(embeddings))
        model.step((embeddings, labels))["loss"].backward()
        gradient = model.get_parameter("encoder.embeddings").grad
        assert gradient is not None
        gradients.append(gradient.double())
    error = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert error < 0.0025  # what rounding each to 8 bits costs; adding them up in 8 bits costs twice that


def test_a_checkpoint_that_has_seen_all_epochs_is_not_gone_on_from(tmp_path: Path) -> None:
    data = Synthetic(num_train_images=100, num_test_images=20, batch_size=20)
    model = Triplet(MLP(hidden_sizes=(4,)))
    trainer = _trainer(2)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    check_resume(tmp_path / "end.ckpt", model, 3)
    with pytest.raises(ValueError, match=r"trained for 2 epochs, which is all of trainer\.max_epochs 2"):
        check_resume(tmp_path / "end.ckpt", model, 2)
    check_resume(tmp_path / "end.ckpt", model, 2, in_place=True)


def test_an_optimizer_is_the_same_under_either_of_its_paths(tmp_path: Path) -> None:
    data = Synthetic(num_train_images=100, num_test_images=20, batch_size=20)
    model = Triplet(MLP(hidden_sizes=(4,)), optimizer=partial(torch.optim.Adam, lr=0.01))
    trainer = _trainer()
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["optimizer"]["class_path"] == "torch.optim.adam.Adam"
    checkpoint["hyper_parameters"]["optimizer"]["class_path"] = "torch.optim.Adam"  # as a config writes it
    torch.save(checkpoint, tmp_path / "b.ckpt")
    check_resume(tmp_path / "b.ckpt", model, 3)
    checkpoint["hyper_parameters"]["optimizer"]["class_path"] = "torch.optim.AdamW"
    torch.save(checkpoint, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=r"was trained by model\.optimizer torch\.optim\.AdamW"):
        check_resume(tmp_path / "c.ckpt", model, 3)


def test_more_examples_a_class_than_a_split_has_are_refused_where_they_were_asked_for() -> None:
    data = Synthetic(num_train_images=400, num_test_images=100, validation_size=100, batch_size=40, samples_per_class=4)
    model = Triplet(MLP(hidden_sizes=(4,)), evaluation=Evaluation(num_shots=30))
    said = _refusal(model, data)
    assert "model.evaluation.num_shots 30 asks for 31 images a class" in said
