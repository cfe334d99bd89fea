from typing import Any

import pytest
import torch
from torch import Tensor

from lab.data import Synthetic
from lab.data.arrays import ImageArrays
from lab.data.episodes import Episodes
from lab.data.module import ImageDataModule
from lab.data.noise import redraw_labels
from lab.data.normalization import measure
from lab.data.splits import joined
from lab.data.views import Stacked


def _arrays(num: int, first_pixel: int = 0, class_names: tuple[str, ...] = ("a", "b", "c")) -> ImageArrays:
    images = torch.arange(first_pixel, first_pixel + num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return ImageArrays(images, torch.arange(num) % len(class_names), list(class_names))


class Numbered(ImageDataModule):
    """Images whose pixels are their numbers, with a split ``extra``."""

    all_class_names = ["a", "b", "c"]
    stored_shape = (1, 4, 4)

    def read(self) -> dict[str, ImageArrays]:
        return {"train": _arrays(60), "val": _arrays(12, 100), "test": _arrays(12, 150), "extra": _arrays(9, 200)}


class Disjoint(Numbered):
    """Test images are of other classes than those trained on."""

    def read(self) -> dict[str, ImageArrays]:
        return {"train": _arrays(60), "val": _arrays(12, 100, ("x", "y")), "test": _arrays(12, 150, ("p", "q", "r", "s"))}


def _numbers(data: ImageDataModule, split: str) -> list[int]:
    images: Tensor = data.splits[split][:][0]
    return sorted(images[:, 0, 0, 0].tolist())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_so_many_labels_are_redrawn_and_a_share_of_them_stays_right(share: float) -> None:
    labels = torch.arange(6000) % 5
    noisy = redraw_labels(labels, 5, share, torch.Generator().manual_seed(0))
    changed = (noisy != labels).float().mean().item()
    assert changed == pytest.approx(share * 4 / 5, abs=0.02)
    assert noisy.min() >= 0
    assert noisy.max() <= 4
    if share == 1.0:  # uniformly from all classes, whatever the label was
        counts = torch.stack([noisy[labels == label].bincount(minlength=5) for label in range(5)])
        assert counts.min() > 190
        assert counts.max() < 290


def test_the_labels_given_stay_as_they_are() -> None:
    labels = torch.zeros(100, dtype=torch.int64)
    redraw_labels(labels, 5, 1.0, torch.Generator().manual_seed(0))
    assert not labels.any()


def test_noise_is_on_training_labels_alone_and_the_true_ones_are_kept() -> None:
    data, clean = (Synthetic(num_train_images=400, batch_size=20, label_noise=noise, seed=3) for noise in (0.3, 0.0))
    data.setup()
    clean.setup()
    assert torch.equal(data.true_labels, clean.splits["train"].labels)
    changed = (data.splits["train"].labels != data.true_labels).float().mean().item()
    assert 0.2 < changed < 0.33
    assert torch.equal(data.splits["train"][:][0], clean.splits["train"][:][0])
    for split in ("val", "test"):
        assert torch.equal(data.splits[split].labels, clean.splits[split].labels)


def test_the_gallery_has_the_true_labels() -> None:
    data = Synthetic(num_train_images=400, batch_size=400, label_noise=0.5)
    data.setup()
    _, gallery = data.test_dataloader()
    clean = Synthetic(num_train_images=400, batch_size=400)
    clean.setup()
    for (images, labels), (expected_images, expected_labels) in zip(gallery, clean.test_dataloader()[1], strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


def test_a_validation_split_of_its_own_is_divided_anew_where_a_size_is_asked_for() -> None:
    data = Numbered(batch_size=3, validation_size=0.25)
    data.setup()
    assert sorted(_numbers(data, "train") + _numbers(data, "val")) == [*range(60), *range(100, 112)]
    assert len(_numbers(data, "val")) == 18


def test_noise_is_the_same_for_the_same_seed() -> None:
    def labels(seed: int) -> Tensor:
        data = Synthetic(num_train_images=400, batch_size=20, label_noise=0.5, seed=seed)
        data.setup()
        return data.splits["train"].labels

    assert torch.equal(labels(1), labels(1))
    assert not torch.equal(labels(1), labels(2))


@pytest.mark.parametrize("noise", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match=r"data\.label_noise must be a share from 0 to 1"):
        Synthetic(label_noise=noise)


def test_a_joined_split_is_trained_on() -> None:
    data = Numbered(batch_size=3, join=["extra"])
    data.setup()
    assert _numbers(data, "train") == [*range(60), *range(200, 209)]
    assert _numbers(data, "val") == list(range(100, 112))
    assert "extra" not in data.splits


def test_joining_the_validation_split_leaves_nothing_to_validate_on() -> None:
    data = Numbered(batch_size=3, join=["extra", "val"])
    data.setup()
    assert _numbers(data, "train") == [*range(60), *range(100, 112), *range(200, 209)]
    assert data.val_dataloader() == []
    assert _numbers(data, "test") == list(range(150, 162))


def test_parts_of_one_tensor_are_joined_without_copying_them() -> None:
    whole = _arrays(20)
    first, second = whole.select(torch.arange(5)), whole.select(torch.arange(9, 12))
    both = joined(first, second)
    assert both.images is whole.images
    assert both[:][0][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 9, 10, 11]
    assert torch.equal(both.labels, torch.cat([first.labels, second.labels]))


def test_splits_of_several_stores_are_joined_without_copying_them() -> None:
    first, second, third = _arrays(6), _arrays(5, 50), _arrays(4, 90)
    both = joined(joined(first, second.select(torch.tensor([4, 1]))), third)
    assert isinstance(both.images, Stacked)
    assert [id(part) for part in both.images.parts] == [id(split.images) for split in (first, second, third)]
    numbers = [0, 1, 2, 3, 4, 5, 54, 51, 90, 91, 92, 93]
    assert both[:][0][:, 0, 0, 0].tolist() == numbers
    assert [int(both[i][0][0, 0, 0]) for i in range(12)] == numbers
    assert both[4:8][0][:, 0, 0, 0].tolist() == numbers[4:8]
    order = torch.tensor([11, 0, 7, 6, 5])
    assert both[order][0][:, 0, 0, 0].tolist() == [numbers[i] for i in order]
    assert both.select(order)[torch.tensor([1, 3])][0][:, 0, 0, 0].tolist() == [0, 54]
    expected = torch.cat([first.labels, second.labels[[4, 1]], third.labels])
    assert torch.equal(both[:][1], expected)


@pytest.mark.parametrize("name", ["test", "nowhere", "train"])
def test_what_cannot_be_joined_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"Numbered has no split '{name}' to join; it has extra, val"):
        Numbered(batch_size=3, join=[name]).setup()


def test_splits_of_other_classes_are_not_joined() -> None:
    with pytest.raises(ValueError, match="only splits of the same classes"):
        joined(_arrays(6), _arrays(6, 50, ("x", "y")))


def test_disjoint_splits_keep_their_own_classes_and_have_no_gallery() -> None:
    data = Disjoint(batch_size=3, classes=["c", "a"])
    data.setup()
    assert data.class_names == ["c", "a"]
    assert not data.classes_are_shared
    assert data.splits["test"].class_names == ["p", "q", "r", "s"]
    assert len(data.test_dataloader()) == 1
    shared = Numbered(batch_size=3)
    shared.setup()
    assert shared.classes_are_shared
    assert len(shared.test_dataloader()) == 2


def test_the_mean_image_is_taken_away_and_pixels_keep_their_units() -> None:
    images = torch.randint(0, 256, (50, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mean, std = measure(ImageArrays(images, torch.zeros(50, dtype=torch.int64), ["a"]), "mean_image")
    normalized = (images / 255 - mean) / std
    torch.testing.assert_close(normalized, images.float() - images.float().mean(0), rtol=1e-4, atol=1e-3)


def test_a_mean_image_is_restored_from_a_checkpoint() -> None:
    data, other = (Synthetic(num_train_images=100, batch_size=10, normalization="mean_image") for _ in range(2))
    data.setup()
    other.load_state_dict(data.state_dict())
    assert torch.equal(other.mean, data.mean)
    assert other.mean.shape == (1, 28, 28)


@pytest.mark.parametrize("options", [{"pairs": True, "samples_per_class": 4}, {"pairs": True, "episodes": "given"}])
def test_a_batch_is_one_thing(options: dict[str, Any]) -> None:
    chosen: dict[str, Any] = {name: Episodes() if value == "given" else value for name, value in options.items()}
    with pytest.raises(ValueError, match="each say what a batch is: set the others to null, or false"):
        Synthetic(**chosen)


def test_episodes_hold_so_many_images_of_each_way() -> None:
    data = Synthetic(num_train_images=600, episodes=Episodes(num_ways=4, num_shots=1, num_queries=3))
    data.setup()
    for _, labels in data.train_dataloader():
        assert sorted(labels.bincount()[labels.unique()].tolist()) == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("episodes", "says"),
    [
        (Episodes(num_ways=20), r"data\.episodes\.num_ways 20 is more than the 10 classes"),
        (Episodes(num_queries=200), r"data\.episodes needs 201 images of each class, .* one has"),
    ],
)
def test_an_episode_that_the_images_cannot_fill_is_refused(episodes: Episodes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Synthetic(num_train_images=600, episodes=episodes).setup()


@pytest.mark.parametrize("arguments", [{"num_ways": 1}, {"num_shots": 0}, {"num_queries": 0}])
def test_an_episode_of_nothing_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"data\.episodes needs 2 ways and 1 shot and query or more"):
        Episodes(**arguments)


def test_training_images_are_evaluated_with_their_right_labels_in_the_order_of_the_gallery() -> None:
    data = Synthetic(num_train_images=200, num_test_images=20, batch_size=20, label_noise=0.5, seed=1)
    data.setup()
    images, labels = data.evaluated("train")[:]
    batches = list(data.test_dataloader()[1])
    assert torch.equal(torch.cat([batch[0] for batch in batches]), images)
    assert torch.equal(torch.cat([batch[1] for batch in batches]), labels)
    assert labels.sort().values.tolist() == data.true_labels.sort().values.tolist()
