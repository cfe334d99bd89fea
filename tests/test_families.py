import functools
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor, nn

from lab.data import MNIST, Synthetic
from lab.data.module import ImageDataModule
from lab.losses import TripletLoss
from lab.metrics import EmbeddingMetrics
from lab.models import Classifier, Family, Triplet
from lab.nets import MLP, ConvNet

Callbacks = list[pl.Callback]


def _trainer(max_epochs: int = 1, callbacks: Callbacks | None = None) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )


def _data(name: str) -> ImageDataModule:
    if name == "bundled":
        return MNIST(bundled=True, batch_size=20, samples_per_class=2, num_images_per_class=10)
    return Synthetic(num_classes_made=5, num_train_images=100, num_test_images=30, batch_size=20, samples_per_class=4)


def _encoder(name: str) -> nn.Module:
    return ConvNet(width=4, embedding_size=8) if name == "conv" else MLP(hidden_sizes=(16,), embedding_size=8)


@pytest.mark.parametrize("encoder", ["conv", "mlp"])
@pytest.mark.parametrize("data", ["bundled", "synthetic"])
@pytest.mark.parametrize("family", ["classifier", "triplet"])
def test_every_family_trains_on_every_data_set_with_every_network(family: str, data: str, encoder: str) -> None:
    images = _data(data)
    net = _encoder(encoder)
    model: Family = Triplet(net) if family == "triplet" else Classifier(net, images.num_classes)
    before = [parameter.clone() for parameter in net.parameters()]
    trainer = _trainer()
    trainer.fit(model, images)
    assert any(not torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    assert {"train/loss", "val/loss", model.monitor} <= trainer.callback_metrics.keys()
    trainer.test(model, images, verbose=False)
    assert all(value.isfinite() for value in trainer.callback_metrics.values())


def test_the_accuracy_of_a_classifier_is_the_share_of_all_images_classified_right() -> None:
    torch.manual_seed(0)
    data = Synthetic(num_classes_made=3, num_train_images=90, num_test_images=47, batch_size=10)
    model = Classifier(_encoder("mlp"), 3)
    trainer = _trainer()
    trainer.test(model, data, verbose=False)
    images, labels = data.on_after_batch_transfer(data.splits["test"][:], 0)
    with torch.no_grad():
        logits = model.eval()(images)
    assert trainer.callback_metrics["test/accuracy"] == (logits.argmax(1) == labels).float().mean()
    expected = nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(trainer.callback_metrics["test/loss"], expected)


def test_a_triplet_network_is_tested_against_all_training_images_without_augmentation() -> None:
    torch.manual_seed(0)
    data = Synthetic(num_classes_made=4, num_train_images=80, num_test_images=37, batch_size=16, samples_per_class=4, noise=0.3)
    model = Triplet(_encoder("mlp"))
    trainer = _trainer()
    trainer.test(model, data, verbose=False)
    with torch.no_grad():
        embeddings, gallery = (
            model.eval()(data.on_after_batch_transfer(data.splits[split][:], 0)[0]) for split in ("test", "train")
        )
    hits = 0
    for query, label in zip(embeddings, data.splits["test"].labels, strict=True):
        distances = [float((query - other).norm()) for other in gallery]
        hits += int(data.splits["train"].labels[distances.index(min(distances))] == label)
    assert trainer.callback_metrics["test/nearest_neighbor_accuracy"] == pytest.approx(hits / 37)


def test_a_cosine_loss_is_scored_by_cosine_distance() -> None:
    model = Triplet(_encoder("mlp"), TripletLoss(distance="cosine", margin=0.25))
    assert isinstance(model.metrics, EmbeddingMetrics)
    assert model.metrics.search == "cosine"


def test_one_cycle_is_told_the_steps_of_the_run_and_advances_every_step() -> None:
    rates: list[float] = []

    class Rates(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    cycle = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01)
    _trainer(2, [Rates()]).fit(Classifier(_encoder("mlp"), 5, scheduler=cycle), _data("synthetic"))
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=8)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates == expected


def test_a_scheduler_that_counts_epochs_advances_every_epoch() -> None:
    step = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    sgd = functools.partial(torch.optim.SGD, lr=1.0)
    model = Classifier(_encoder("mlp"), 5, optimizer=sgd, scheduler=step)
    trainer = _trainer(2)
    trainer.fit(model, _data("synthetic"))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_scheduler_that_waits_for_a_plateau_watches_the_validation_loss() -> None:
    made = functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0)
    assert Classifier(_encoder("mlp"), 5, scheduler=made).configure_optimizers()["lr_scheduler"]["monitor"] == "val/loss"
    named = functools.partial(ReduceLROnPlateau, monitor="val/accuracy", mode="max")
    assert Classifier(_encoder("mlp"), 5, scheduler=named).configure_optimizers()["lr_scheduler"]["monitor"] == "val/accuracy"


def test_a_resumed_run_is_the_uninterrupted_one_with_dropout_too(tmp_path: Path) -> None:
    def end(max_epochs: int, resume: Path | None = None) -> pl.Trainer:
        pl.seed_everything(0)
        trainer = _trainer(max_epochs)
        model = Classifier(MLP(hidden_sizes=(16,), embedding_size=8, dropout=0.5), 5)
        trainer.fit(model, _data("synthetic"), ckpt_path=resume, weights_only=True)
        return trainer

    end(2).save_checkpoint(tmp_path / "half.ckpt")
    resumed, whole = end(4, tmp_path / "half.ckpt"), end(4)
    assert resumed.callback_metrics == whole.callback_metrics
    for one, other in zip(resumed.lightning_module.parameters(), whole.lightning_module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_longer_than_the_schedule_of_its_checkpoint_is_refused_before_it_trains(tmp_path: Path) -> None:
    def model() -> Classifier:
        return Classifier(_encoder("mlp"), 5, scheduler=functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01))

    trainer = _trainer(2)
    trainer.fit(model(), _data("synthetic"))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="the checkpoint ends after 8 steps and the run after 16"):
        _trainer(4).fit(model(), _data("synthetic"), ckpt_path=tmp_path / "a.ckpt", weights_only=True)


def test_frozen_parameters_are_not_given_to_the_optimizer() -> None:
    net = _encoder("mlp")
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    model = Classifier(net, 5)
    optimizer = model.configure_optimizers()
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.head.parameters()}


def test_an_encoder_that_does_not_say_its_embedding_size_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"Sequential has no embedding_size.*model\.embedding_size"):
        Classifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 8)), 10)
    assert Classifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 8)), 10, embedding_size=8).head.in_features == 8


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    def end(seed: int) -> Tensor:
        pl.seed_everything(seed)
        data = Synthetic(num_train_images=60, num_test_images=20, batch_size=20, seed=seed)
        model = Classifier(MLP(hidden_sizes=(16,), embedding_size=8, dropout=0.5), 10)
        _trainer(2).fit(model, data)
        weight: Tensor = model.state_dict()["head.weight"]
        return weight.clone()

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_a_run_can_be_trained_in_another_precision(precision: Any) -> None:
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(Triplet(_encoder("conv")), _data("synthetic"))
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_what_a_network_adds_to_the_loss_by_its_weights_is_trained_on() -> None:
    class Penalized(MLP):
        def penalty(self) -> Tensor:
            total: Tensor = sum((p.square().sum() for p in self.parameters()), torch.zeros(()))
            return 100.0 * total

    def end(encoder: MLP) -> tuple[float, float]:
        pl.seed_everything(0)
        data = Synthetic(num_train_images=60, num_test_images=20, batch_size=20)
        model, trainer = Classifier(encoder, 10), _trainer(3)
        trainer.fit(model, data)
        norm = sum(p.square().sum().item() for p in encoder.parameters())
        return norm, trainer.callback_metrics["train/loss"].item()

    pl.seed_everything(1)
    plain, penalized = MLP(hidden_sizes=(16,), embedding_size=8), Penalized(hidden_sizes=(16,), embedding_size=8)
    (norm, loss), (smaller_norm, larger_loss) = end(plain), end(penalized)
    assert smaller_norm < norm
    assert larger_loss > loss + 100


def test_an_attribute_that_is_no_penalty_is_left_alone() -> None:
    encoder = MLP(hidden_sizes=(16,), embedding_size=8)
    encoder.penalty = 0.1  # type: ignore[assignment]
    trainer = _trainer(1)
    trainer.fit(Classifier(encoder, 10), Synthetic(num_train_images=60, num_test_images=20, batch_size=20))
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_from_python_too_a_classifier_is_not_scored_on_classes_it_was_not_trained_on() -> None:
    class Disjoint(Synthetic):
        def read(self) -> dict[str, Any]:
            splits = super().read()
            splits["test"].class_names = [f"other {i}" for i in range(10)]
            return splits

    data = Disjoint(num_train_images=60, num_test_images=20, batch_size=20)
    with pytest.raises(ValueError, match="Classifier can only be scored on the classes it was trained on, and Disjoint"):
        _trainer(1).fit(Classifier(MLP(hidden_sizes=(16,), embedding_size=8), 10), data)
    _trainer(1).fit(Triplet(MLP(hidden_sizes=(16,), embedding_size=8)), data)


def test_attributes_of_a_family_are_set_as_those_of_any_module() -> None:
    model: Any = Classifier(MLP((1, 4, 4), [], 3), 3)
    reference: Any = torch.nn.Module()
    for module in (model, reference):
        module.noted = None
        module.noted = "a text"
        module.part = torch.nn.Linear(1, 1)
        module.noted = torch.nn.Parameter(torch.ones(1))
        module.part = None
    assert (model.noted == reference.noted).all()
    assert "noted" in dict(model.named_parameters())
    assert model._modules["part"] is reference._modules["part"] is None
    with pytest.raises(TypeError, match="cannot assign 'str'"):
        model.noted = "a text"
