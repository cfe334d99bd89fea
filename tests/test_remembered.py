from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from lab.callbacks import remembered
from lab.callbacks.defaults import default_callbacks
from lab.callbacks.remembered import Remembered, frozen_part
from lab.data import Augmentation, Synthetic
from lab.models import Classifier
from lab.nets import MLP, ConvNet


class Counting(ConvNet):
    """Notes how many images it is given."""

    num_images = 0

    def forward(self, images: Tensor) -> Tensor:
        self.num_images += len(images)
        return super().forward(images)


def _frozen() -> Counting:
    torch.manual_seed(0)
    network = Counting(width=4)
    return network.requires_grad_(False).eval()


IMAGES = torch.rand(30, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def _scores(remember_features: bool, **options: Any) -> tuple[dict[str, float], Tensor, int]:
    """Train the head of a classifier on a frozen encoder; return scores, the head and how many images passed the encoder."""
    pl.seed_everything(0)
    model = Classifier(Counting(width=4), 10)
    found = default_callbacks(None, freeze=["encoder"], remember_features=remember_features, model_summary=False)
    data = Synthetic(num_train_images=250, validation_size=50, batch_size=20, **options)
    trainer = pl.Trainer(max_epochs=4, accelerator="cpu", callbacks=found, logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)  # fmt: skip
    trainer.fit(model, data)
    assert "forward" not in vars(model.encoder)  # as it was
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return scores, model.head.weight.detach().clone(), model.encoder.num_images  # type: ignore[operator, return-value]


def test_each_image_passes_a_frozen_encoder_once_and_the_scores_are_the_same() -> None:
    scores, head, num_images = _scores(remember_features=True)
    expected, expected_head, num_before = _scores(remember_features=False)
    assert scores == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(head, expected_head, rtol=0, atol=1e-5)
    num_distinct = 200 + 50
    assert num_before >= 4 * num_distinct
    assert num_distinct <= num_images <= 1.3 * num_distinct  # eight at once


def test_what_is_augmented_is_computed_anew() -> None:
    augmentation = Augmentation(rotate=20)
    scores, head, num_images = _scores(remember_features=True, augmentation=augmentation)
    expected, expected_head, _ = _scores(remember_features=False, augmentation=augmentation)
    assert scores == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(head, expected_head, rtol=0, atol=1e-5)
    assert num_images >= 4 * 200


def test_what_an_image_gives_is_that_of_the_network_whichever_others_are_asked_for() -> None:
    network = _frozen()
    expected, every = network(IMAGES), Remembered(network)(IMAGES)
    torch.testing.assert_close(every, expected)
    for places in ([3], [29, 3], list(range(29, -1, -1)), [5, 5, 2, 5]):
        assert torch.equal(Remembered(network)(IMAGES[places]), every[places])


def test_what_was_seen_in_a_validation_can_be_learned_from() -> None:
    network, head = _frozen(), nn.Linear(64, 2)
    remember = Remembered(network)
    with torch.inference_mode():
        first = remember(IMAGES[:6])
    again = remember(IMAGES[:9])
    head(again).sum().backward()
    assert torch.equal(first, again[:6])
    assert head.weight.grad is not None
    torch.testing.assert_close(head.weight.grad[0], again.sum(0))


def test_the_oldest_are_forgotten_where_there_is_room_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _frozen()
    expected = Remembered(network)(IMAGES)
    monkeypatch.setattr(remembered, "MAX_BYTES", 10 * 64 * 4)
    remember = Remembered(network)
    for start in (0, 8, 4, 0, 12):
        assert torch.equal(remember(IMAGES[start : start + 12]), expected[start : start + 12])
    network.num_images = 0
    remember(IMAGES[14:24])  # the ten that came last
    assert network.num_images == 0
    remember(IMAGES[13:14])
    assert network.num_images == remembered.AT_ONCE


def test_images_that_are_differentiated_by_pass_the_network() -> None:
    images = IMAGES[:4].clone().requires_grad_()
    Remembered(_frozen())(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_only_what_is_all_frozen_and_has_convolutions_is_remembered() -> None:
    network = _frozen()
    assert frozen_part(network) is network
    holder = nn.Module()
    holder.backbone, holder.last = network, nn.Linear(64, 2)
    assert frozen_part(holder) is network
    assert frozen_part(_frozen().train()) is None
    assert frozen_part(ConvNet(width=4).eval()) is None
    assert frozen_part(MLP().requires_grad_(False).eval()) is None
    partly = _frozen()
    next(partly.parameters()).requires_grad_()
    assert frozen_part(partly) is None


class Thaw(pl.Callback):
    """Lets the encoder train from the second epoch on."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            pl_module.encoder.requires_grad_(True)
            trainer.optimizers[0].add_param_group({"params": list(pl_module.encoder.parameters())})


def test_an_encoder_that_trains_again_is_remembered_no_more() -> None:
    trained = {}
    for remember_features in (True, False):
        pl.seed_everything(0)
        model = Classifier(ConvNet(width=4), 10)
        found = default_callbacks(None, freeze=["encoder"], remember_features=remember_features, model_summary=False)
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=[*found, Thaw()], logger=False,
                             enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        before = model.encoder.layers[0].weight.detach().clone()  # type: ignore[union-attr, index]
        trainer.fit(model, Synthetic(num_train_images=60, validation_size=20, batch_size=20))
        trained[remember_features] = model.encoder.layers[0].weight.detach()  # type: ignore[union-attr, index]
        assert not torch.equal(trained[remember_features], before)
    torch.testing.assert_close(trained[True], trained[False], rtol=0, atol=1e-4)


def test_other_weights_give_other_features() -> None:
    network = _frozen()
    remember = Remembered(network)
    before = remember(IMAGES)
    network.load_state_dict({name: 2 * value for name, value in network.state_dict().items()})
    torch.testing.assert_close(remember(IMAGES), network(IMAGES))
    assert not torch.allclose(remember(IMAGES), before)


def test_what_does_not_come_again_is_not_kept() -> None:
    network = _frozen()
    remember = Remembered(network, in_training=False)
    remember(IMAGES)
    network.num_images = 0
    remember(IMAGES)
    with torch.no_grad():
        remember(IMAGES)
        remember(IMAGES)
    assert len(IMAGES) * 2 <= network.num_images <= len(IMAGES) * 2 + 2  # eight at once


class Maps(ConvNet):
    """Returns two maps of features rather than one vector."""

    def forward(self, images: Tensor, num: int = 2) -> Any:
        return [super().forward(images)] * num


def test_what_returns_several_tensors_or_takes_other_arguments_passes_the_network() -> None:
    network = Maps(width=4).requires_grad_(False).eval()
    remember = Remembered(network)
    assert [len(features) for features in remember(IMAGES)] == [30, 30]
    assert [len(features) for features in remember(images=IMAGES, num=3)] == [30, 30, 30]


def test_what_depends_on_the_others_of_a_batch_is_not_remembered() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert frozen_part(layers.requires_grad_(False).eval()) is None
    assert frozen_part(nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2)).requires_grad_(False).eval()) is not None
