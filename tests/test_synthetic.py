from typing import Any

import pytest
import torch

from lab.data.arrays import ImageArrays
from lab.data.synthetic import Synthetic


def _made(**options: Any) -> Synthetic:
    data = Synthetic(**options)
    data.prepare_data()
    data.setup()
    return data


def _accuracy(data: Synthetic) -> float:
    """Score the nearest class mean, learnt on the training images, on the test images."""
    train, test = data.splits["train"], data.splits["test"]
    pixels = {name: arrays[:][0].flatten(1).double() for name, arrays in data.splits.items()}
    centres = torch.stack([pixels["train"][train.labels == label].mean(0) for label in range(data.num_classes)])
    return (torch.cdist(pixels["test"], centres).argmin(1) == test.labels).double().mean().item()


def _assert_same(one: ImageArrays, other: ImageArrays) -> None:
    assert torch.equal(one[:][0], other[:][0])
    assert torch.equal(one.labels, other.labels)


def test_the_same_images_are_made_whatever_the_seed_and_the_global_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _made(num_train_images=60, num_test_images=20, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = _made(num_train_images=60, num_test_images=20, seed=2)
    for split in ("train", "val", "test"):
        _assert_same(first.splits[split], again.splits[split])


@pytest.mark.parametrize(("num_train_images", "num_test_images"), [(200, 100), (203, 57)])
def test_as_many_images_are_made_as_asked_for_and_as_many_of_each_class_to_within_one(
    num_train_images: int, num_test_images: int
) -> None:
    made = Synthetic(num_train_images=num_train_images, num_test_images=num_test_images).read()
    for split, num in (("train", num_train_images), ("test", num_test_images)):
        counts = torch.bincount(made[split].labels, minlength=10)
        assert int(counts.sum()) == len(made[split]) == num
        assert int(counts.max() - counts.min()) <= 1


def test_no_test_image_is_a_training_image() -> None:
    made = Synthetic(num_train_images=300, num_test_images=100).read()
    train, test = ({image.numpy().tobytes() for image in made[split][:][0]} for split in ("train", "test"))
    assert train.isdisjoint(test)


def test_the_classes_can_be_learnt_and_noise_makes_them_harder() -> None:
    quiet, noisy = (_accuracy(_made(num_train_images=500, num_test_images=200, noise=noise)) for noise in (0.1, 5.0))
    assert quiet > 0.8
    assert noisy < quiet


def test_the_number_of_classes_and_the_shape_of_the_images_are_options() -> None:
    data = _made(num_classes_made=3, num_train_images=40, num_test_images=9, stored_shape=(3, 8, 12))
    assert data.num_classes == len(data.class_names) == 3
    assert data.image_shape == (3, 8, 12)
    images, labels = data.on_after_batch_transfer(data.splits["test"][:], 0)
    assert images.shape == (9, 3, 8, 12)
    assert set(labels.tolist()) == {0, 1, 2}


def test_the_options_of_every_data_set_work_here_too() -> None:
    everything = _made(num_classes_made=5, num_train_images=100, num_test_images=20)
    wanted = [everything.class_names[3], everything.class_names[0]]
    data = _made(
        num_classes_made=5,
        num_train_images=100,
        num_test_images=20,
        classes=wanted,
        batch_size=6,
        samples_per_class=3,
        image_size=9,
    )
    assert data.class_names == wanted
    assert data.image_shape == (1, 9, 9)
    for images, labels in data.train_dataloader():
        assert images.shape == (6, 1, 9, 9)
        assert torch.bincount(labels).tolist() == [3, 3]


def test_an_option_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="batchsize"):
        Synthetic(batchsize=3)
