from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision.transforms.functional as reference
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.augmentation import Augmentation
from lab.data.loader import BatchLoader
from lab.data.module import ImageDataModule

Batch = tuple[Tensor, Tensor]
ANIMALS = ["ant", "bee", "cat", "dog"]
AUGMENTATION = Augmentation(rotate=30, shift=0.2)


class Animals(ImageDataModule):
    """Random images, brighter in each channel and class; an image is known again by its first two pixels."""

    all_class_names = ANIMALS
    stored_shape = (3, 6, 8)
    counts = {"train": 120, "test": 28}
    brightness = 1

    def read(self) -> dict[str, ImageArrays]:
        generator = torch.Generator().manual_seed(0)
        splits = {}
        for number, (name, count) in enumerate(self.counts.items()):
            labels = torch.arange(count) % len(ANIMALS)
            images = torch.randint(0, 40, (count, *self.stored_shape), generator=generator, dtype=torch.uint8)
            images += (labels * 20).to(torch.uint8).view(-1, 1, 1, 1)
            images += (torch.arange(3) * 50).to(torch.uint8).view(-1, 1, 1)
            images *= self.brightness
            images[:, 0, 0, 0] = number
            images[:, 0, 0, 1] = torch.arange(count)
            splits[name] = ImageArrays(images, labels, ANIMALS)
        return splits


class AnimalsWithValidation(Animals):
    """The same with a validation split of its own."""

    counts = {"train": 120, "val": 20, "test": 28}


def _black(**options: Any) -> Animals:
    """Make a data set that measures another mean and deviation."""
    data = Animals(**options)
    data.brightness = 0
    return data


def _made(**options: Any) -> Animals:
    data = Animals(**options)
    data.setup()
    return data


def _ids(arrays: ImageArrays) -> list[tuple[int, int]]:
    return [(int(first), int(second)) for first, second in arrays[:][0][:, 0, 0, :2]]


def _prepared(data: ImageDataModule, loader: Any) -> list[Batch]:
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def _epoch(data: ImageDataModule) -> Batch:
    images, labels = zip(*_prepared(data, data.train_dataloader()), strict=True)
    return torch.cat(images), torch.cat(labels)


def _same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(ours, theirs)
        for pair, wanted in zip(one, other, strict=True)
        for ours, theirs in zip(pair, wanted, strict=True)
    )


class Recorder(LightningModule):
    """Keeps every batch it is given, by stage."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_batches: list[Batch] = []
        self.val_batches: list[Batch] = []
        self.test_batches: list[list[Batch]] = [[], []]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.train_batches.append((batch[0].clone(), batch[1].clone()))
        return (batch[0].mean() - self.weight).square()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.val_batches.append((batch[0].clone(), batch[1].clone()))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.test_batches[dataloader_idx].append((batch[0].clone(), batch[1].clone()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _trainer(tmp_path: Path, **settings: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{"max_epochs": 1, "accelerator": "cpu", "default_root_dir": tmp_path, **quiet, **settings})


def _fitted(tmp_path: Path, max_epochs: int = 1, **options: Any) -> Recorder:
    recorder = Recorder()
    _trainer(tmp_path, max_epochs=max_epochs).fit(recorder, Animals(batch_size=16, **options))
    return recorder


def test_a_data_set_is_used_without_a_trainer() -> None:
    data = _made(batch_size=16)
    loaders = [data.train_dataloader(), data.val_dataloader(), *data.test_dataloader()]
    for loader in loaders:
        batches = _prepared(data, loader)
        assert len(batches) == len(loader) > 0
        for images, labels in batches:
            assert images.dtype == torch.float32
            assert images.shape == (len(labels), *data.image_shape)
            assert labels.dtype == torch.int64
            assert labels.ndim == 1
            assert 0 <= int(labels.min()) <= int(labels.max()) < data.num_classes


def test_a_data_set_says_what_its_classes_and_images_are_before_anything_is_read() -> None:
    data = Animals()
    assert data.num_classes == 4
    assert data.class_names == ANIMALS
    assert data.image_shape == (3, 6, 8)
    assert data.splits == {}


def test_a_loader_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    data = _made(batch_size=16, samples_per_class=4)
    for loader in (data.train_dataloader(), data.val_dataloader(), *data.test_dataloader()):
        assert len(list(loader)) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_setting_up_twice_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _made()
    splits = dict(data.splits)
    monkeypatch.setattr(data, "read", lambda: pytest.fail("it was read again"))
    data.setup("test")
    assert data.splits == splits


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_batch_size_is_the_number_of_images_in_a_batch(batch_size: int) -> None:
    data = _made(batch_size=batch_size)
    num_train, num_val = len(data.splits["train"]), len(data.splits["val"])
    assert [len(labels) for _, labels in data.train_dataloader()] == [batch_size] * (num_train // batch_size)
    sizes = [len(labels) for _, labels in data.val_dataloader()]
    assert sum(sizes) == num_val
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)


def test_samples_per_class_makes_training_batches_of_that_many_images_a_class() -> None:
    for _, labels in _made(batch_size=9, samples_per_class=3).train_dataloader():
        counted = torch.bincount(labels)
        assert counted[counted > 0].tolist() == [3, 3, 3]


def test_what_cannot_fill_a_batch_is_said_in_setup() -> None:
    with pytest.raises(ValueError, match="class 'ant' has 2 training images"):
        _made(batch_size=16, samples_per_class=4, num_images_per_class=2)


def test_the_first_so_many_classes_are_used() -> None:
    data = _made(classes=2)
    assert data.class_names == ["ant", "bee"]
    assert data.num_classes == 2
    assert {int(label) for arrays in data.splits.values() for label in arrays.labels} == {0, 1}


def test_listed_classes_are_used_in_their_order_in_every_split() -> None:
    everything, data = _made(), _made(classes=["dog", "ant"])
    original = {
        image: ANIMALS[int(label)]
        for arrays in everything.splits.values()
        for image, label in zip(_ids(arrays), arrays.labels, strict=True)
    }
    assert data.class_names == ["dog", "ant"]
    for arrays in data.splits.values():
        assert arrays.class_names == data.class_names
        assert [data.class_names[label] for label in arrays.labels] == [original[image] for image in _ids(arrays)]
    assert sum(len(arrays) for arrays in data.splits.values()) == (120 + 28) // 2


def test_an_unknown_class_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match="'dogs', which Animals does not have; did you mean 'dog'"):
        Animals(classes=["ant", "dogs"])


@pytest.mark.parametrize(("validation_size", "num_images"), [(20, 20), (0.25, 30), (0.1, 12), (1, 1), (30.0, 30), (119, 119)])
def test_validation_size_is_a_number_of_images_or_a_share_of_them(validation_size: int | float, num_images: int) -> None:
    data = _made(validation_size=validation_size)
    assert len(data.splits["val"]) == num_images
    assert len(data.splits["train"]) == 120 - num_images
    assert int(torch.bincount(data.splits["val"].labels, minlength=4).diff().abs().max()) <= 1


@pytest.mark.parametrize("validation_size", [120, 500, 0.001])
def test_a_validation_size_that_leaves_one_side_empty_is_refused(validation_size: int | float) -> None:
    with pytest.raises(ValueError, match=rf"data\.validation_size {validation_size}.* 120 images"):
        _made(validation_size=validation_size)


def test_a_data_set_with_a_validation_split_of_its_own_uses_it_unless_told_otherwise() -> None:
    own, told = AnimalsWithValidation(), AnimalsWithValidation(validation_size=40)
    for data in (own, told):
        data.setup()
    assert (len(own.splits["train"]), len(own.splits["val"])) == (120, 20)
    assert (len(told.splits["train"]), len(told.splits["val"])) == (100, 40)
    assert set(_ids(told.splits["val"])).isdisjoint(_ids(told.splits["train"]))


def test_validation_images_are_the_same_whatever_the_seed_and_are_never_trained_on() -> None:
    versions = [_made(seed=seed, num_images_per_class=few) for seed in (0, 1, 2) for few in (None, 5)]
    validated = {tuple(_ids(data.splits["val"])) for data in versions}
    assert len(validated) == 1
    trained = {image for data in versions for image in _ids(data.splits["train"])}
    assert trained.isdisjoint(validated.pop())
    assert trained.isdisjoint(_ids(versions[0].splits["test"]))


def test_num_images_per_class_keeps_that_many_to_train_on_and_draws_them_by_the_seed() -> None:
    first, again, other, everything = (
        _made(seed=seed, num_images_per_class=few) for seed, few in ((1, 6), (1, 6), (2, 6), (1, None))
    )
    assert torch.bincount(first.splits["train"].labels).tolist() == [6, 6, 6, 6]
    assert _ids(first.splits["train"]) == _ids(again.splits["train"])
    assert _ids(first.splits["train"]) != _ids(other.splits["train"])
    for split in ("val", "test"):
        assert _ids(first.splits[split]) == _ids(everything.splits[split])


@pytest.mark.parametrize("side", [4, 13])
def test_image_size_resizes_every_image_once_as_torchvision_does(side: int) -> None:
    stored, resized = _made(), _made(image_size=side)
    assert resized.image_shape == (3, side, side)
    for split, arrays in resized.splits.items():
        images, labels = arrays[:]
        original, original_labels = stored.splits[split][:]
        assert images.dtype == torch.uint8
        assert torch.equal(labels, original_labels)
        wanted = reference.resize(original, [side, side], antialias=True)
        assert int((images.int() - wanted.int()).abs().max()) <= 1
    assert all(images.shape[1:] == (3, side, side) for images, _ in _prepared(resized, resized.train_dataloader()))


def test_unit_normalization_scales_pixels_from_zero_to_one() -> None:
    data = _made(normalization="unit", batch_size=108)
    images, _ = _epoch(data)
    stored = data.splits["train"][:][0]
    assert sorted((images * 255).round().flatten().tolist()) == sorted(stored.flatten().tolist())


def test_standard_normalization_gives_each_channel_of_the_training_images_mean_zero_and_deviation_one() -> None:
    data = _made()
    _, gallery = data.test_dataloader()
    images = torch.cat([images for images, _ in _prepared(data, gallery)])
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3), rtol=0, atol=1e-4)


def test_test_images_are_normalised_by_what_was_measured_on_the_training_images() -> None:
    data = _made(batch_size=28)
    pixels = data.splits["train"][:][0].double() / 255
    mean, std = pixels.mean((0, 2, 3)).view(-1, 1, 1), pixels.std((0, 2, 3), correction=0).view(-1, 1, 1)
    [(stored, _)] = list(data.test_dataloader()[0])
    [(images, _)] = _prepared(data, data.test_dataloader()[0])
    torch.testing.assert_close(images, ((stored.double() / 255 - mean) / std).float(), rtol=0, atol=1e-4)


def test_a_channel_without_contrast_gives_finite_numbers() -> None:
    class GreyAnimals(Animals):
        def read(self) -> dict[str, ImageArrays]:
            splits = super().read()
            for arrays in splits.values():
                arrays[:][0][:, 1] = 77
            return splits

    data = GreyAnimals()
    data.setup()
    images, _ = _epoch(data)
    assert bool(images.isfinite().all())
    torch.testing.assert_close(images[:, 1], torch.zeros_like(images[:, 1]), rtol=0, atol=1e-3)


def test_batches_come_in_the_same_order_for_the_same_seed_and_in_another_for_another() -> None:
    first, again, other = (list(_made(seed=seed, batch_size=16).train_dataloader()) for seed in (4, 4, 5))
    assert _same(first, again)
    assert not _same(first, other)


@pytest.mark.parametrize("name", ["batch_size", "samples_per_class", "validation_size", "num_images_per_class", "image_size"])
@pytest.mark.parametrize("value", [0, -2])
def test_an_option_that_must_be_positive_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"data\.{name} must be positive, not {value}"):
        _made(**{name: value})


def test_the_test_split_comes_with_the_training_split_as_its_gallery() -> None:
    data = _made(batch_size=16, normalization="unit", augmentation=AUGMENTATION, samples_per_class=4)
    test, gallery = data.test_dataloader()
    for loader, split in ((test, "test"), (gallery, "train")):
        images = (torch.cat([images for images, _ in _prepared(data, loader)]) * 255).round().to(torch.uint8)
        seen = sorted((int(first), int(second)) for first, second in images[:, 0, 0, :2])
        assert seen == sorted(_ids(data.splits[split]))


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_out_the_images_of_an_epoch(world_size: int) -> None:
    trained, validated = [], []
    for rank in range(world_size):
        data = _made(batch_size=8)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, training=False)  # type: ignore[assignment]
        trained.append([tuple(pixels) for images, _ in data.train_dataloader() for pixels in images[:, 0, 0, :2].tolist()])
        scored = data.val_dataloader()
        assert isinstance(scored, BatchLoader)
        validated += [tuple(pixels) for images, _ in scored for pixels in images[:, 0, 0, :2].tolist()]
    assert len({len(rank) for rank in trained}) == 1
    together = [image for rank in trained for image in rank]
    assert len(set(together)) == len(together) == 108 // (8 * world_size) * 8 * world_size
    assert sorted(validated) == sorted(_ids(data.splits["val"]))


def _augmented(rank: int, step: int, seed: int) -> Tensor:
    data = _made(augmentation=AUGMENTATION, seed=seed, validation_size=12)
    module = SimpleNamespace(dtype=torch.float32)
    trainer = SimpleNamespace(
        global_rank=rank, training=True, fit_loop=SimpleNamespace(total_batch_idx=step), lightning_module=module
    )
    data.trainer = trainer  # type: ignore[assignment]
    return data.on_after_batch_transfer(data.splits["train"][:8], 0)[0]


def test_augmentation_differs_by_device_step_and_seed_and_is_the_same_for_the_same() -> None:
    settings = [(0, 3, 0), (1, 3, 0), (0, 4, 0), (0, 3, 1)]
    results = [_augmented(*setting) for setting in settings]
    assert len({tuple(result.flatten().tolist()) for result in results}) == len(settings)
    assert torch.equal(results[1], _augmented(*settings[1]))


def test_the_state_of_a_data_set_is_plain_python_and_restores_the_normalization(tmp_path: Path) -> None:
    data = _made(classes=["cat", "ant"])
    torch.save(data.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state == data.state_dict()
    assert state["class_names"] == ["cat", "ant"]
    assert tuple(state["image_shape"]) == data.image_shape
    assert all(isinstance(number, float) for name in ("mean", "std") for number in state[name])
    other = _black()
    other.setup()
    batch = data.splits["test"][:4]
    wanted = data.on_after_batch_transfer(batch, 0)[0]
    assert not torch.allclose(other.on_after_batch_transfer(batch, 0)[0], wanted)
    other.load_state_dict(state)
    torch.testing.assert_close(other.on_after_batch_transfer(batch, 0)[0], wanted)


def test_a_state_may_be_loaded_before_the_data_set_is_set_up() -> None:
    data, other = _made(), _black()
    other.load_state_dict(data.state_dict())
    other.setup()
    batch = data.splits["test"][:4]
    torch.testing.assert_close(other.on_after_batch_transfer(batch, 0)[0], data.on_after_batch_transfer(batch, 0)[0])


def test_a_checkpoint_brings_its_normalization_to_the_test(tmp_path: Path) -> None:
    data, other = Animals(batch_size=16), _black(batch_size=16)
    trainer = _trainer(tmp_path)
    trainer.fit(Recorder(), data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    _trainer(tmp_path).test(Recorder(), other, ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)
    assert len(other.splits) == 3
    assert torch.equal(other.mean, data.mean)
    assert torch.equal(other.std, data.std)


def test_a_fast_run_trains_validates_and_tests(tmp_path: Path) -> None:
    recorder, data, trainer = Recorder(), Animals(batch_size=16), _trainer(tmp_path, fast_dev_run=True)
    trainer.fit(recorder, data)
    trainer.test(recorder, data, verbose=False)
    assert [len(recorder.train_batches), len(recorder.val_batches), *map(len, recorder.test_batches)] == [1, 1, 1, 1]
    images, labels = recorder.train_batches[0]
    assert images.shape == (16, 3, 6, 8)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64


def test_augmentation_is_applied_in_training_and_nowhere_else(tmp_path: Path) -> None:
    plain, augmented = Recorder(), Recorder()
    for recorder, augmentation in ((plain, None), (augmented, AUGMENTATION)):
        data, trainer = Animals(batch_size=16, augmentation=augmentation), _trainer(tmp_path)
        trainer.fit(recorder, data)
        trainer.test(recorder, data, verbose=False)
    assert len(plain.train_batches) == len(augmented.train_batches) == 108 // 16
    for (images, labels), (changed, same_labels) in zip(plain.train_batches, augmented.train_batches, strict=True):
        assert torch.equal(labels, same_labels)
        assert bool(((images - changed).abs().amax((1, 2, 3)) > 0.1).all())
    assert plain.val_batches
    assert _same(plain.val_batches, augmented.val_batches)
    for ours, theirs in zip(plain.test_batches, augmented.test_batches, strict=True):
        assert ours
        assert _same(ours, theirs)


def test_two_runs_see_the_same_batches_whatever_the_global_generator(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = _fitted(tmp_path, seed=7, augmentation=AUGMENTATION)
    torch.manual_seed(2)
    again = _fitted(tmp_path, seed=7, augmentation=AUGMENTATION)
    other = _fitted(tmp_path, seed=8, augmentation=AUGMENTATION)
    assert _same(one.train_batches, again.train_batches)
    assert not _same(one.train_batches, other.train_batches)


def test_lightning_moves_on_the_epoch_of_the_batches_and_of_the_augmentation(tmp_path: Path) -> None:
    recorder = _fitted(tmp_path, max_epochs=2)
    half = len(recorder.train_batches) // 2
    assert half == 108 // 16
    assert not _same(recorder.train_batches[:half], recorder.train_batches[half:])
    validated = len(recorder.val_batches) // 3  # two epochs, and the check before the first
    assert validated > 0
    assert _same(recorder.val_batches[:validated], recorder.val_batches[-validated:])


@pytest.mark.parametrize("samples_per_class", [None, 4])
def test_a_resumed_run_sees_the_batches_an_uninterrupted_one_does(tmp_path: Path, samples_per_class: int | None) -> None:
    options: dict[str, Any] = {"augmentation": AUGMENTATION, "seed": 3, "samples_per_class": samples_per_class}
    whole = _fitted(tmp_path, max_epochs=2, **options)
    trainer, resumed = _trainer(tmp_path), Recorder()
    trainer.fit(Recorder(), Animals(batch_size=16, **options))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    again = _trainer(tmp_path, max_epochs=2)
    again.fit(resumed, Animals(batch_size=16, **options), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert len(resumed.train_batches) == len(whole.train_batches) // 2
    assert _same(resumed.train_batches, whole.train_batches[len(resumed.train_batches) :])


def test_overfit_batches_which_would_train_on_single_images_is_refused_with_another_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trainer\.overfit_batches .* data\.num_images_per_class"):
        _trainer(tmp_path, overfit_batches=2).fit(Recorder(), Animals(batch_size=16))
