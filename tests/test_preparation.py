from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lab.data import ImageFolder, Synthetic
from lab.data.module import ImageDataModule
from lab.data.preparation import Preparation, scaled


def _preparation(**settings: Any) -> Preparation:
    settings = {"class_names": ["a", "b"], "image_shape": (1, 2, 3), **settings}
    return Preparation(mean=torch.full((1, 1, 1), 0.25), std=torch.full((1, 1, 1), 0.5), **settings)


def _picture(path: Path, rows: list[list[int]]) -> Path:
    Image.fromarray(np.array(rows, dtype=np.uint8)).save(path)
    return path


def test_a_picture_of_the_right_size_is_read_as_it_is_and_inverted_where_the_data_were(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.png", [[0, 10, 20], [30, 40, 255]])
    assert _preparation().read(path).tolist() == [[[0, 10, 20], [30, 40, 255]]]
    assert _preparation(inverted=True).read(path).tolist() == [[[255, 245, 235], [225, 215, 0]]]


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_a_picture_of_another_shape_is_fitted_to_one_that_need_not_be_square(tmp_path: Path, fit: Any) -> None:
    path = _picture(tmp_path / "a.png", [[200] * 6] * 6)
    read = _preparation(fit=fit).read(path)
    assert read.shape == (1, 2, 3)
    assert (read == 200).float().mean() == (2 / 3 if fit == "pad" else 1)  # 2 x 2 pixels beside a column of black


def test_pixels_are_normalised_as_a_data_set_does(tmp_path: Path) -> None:
    data = Synthetic(num_train_images=50, num_test_images=10)
    data.setup()
    images, labels = data.splits["test"][:4]
    expected, _ = data.on_after_batch_transfer((images, labels), 0)
    again = Preparation.from_state(data.state_dict())
    assert torch.equal(again.normalize(scaled(images)), expected)
    assert again.class_names == data.class_names
    assert again.image_shape == data.image_shape


def test_pixels_of_unit_range_are_left_as_they_are_and_say_so_in_plain_python() -> None:
    left = Preparation(["a"], (1, 1, 2), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    assert left.normalize(torch.tensor([[[[0.0, 0.7]]]])).tolist() == torch.tensor([[[[0.0, 0.7]]]]).tolist()
    again = Preparation.from_state(left.state_dict())  # after use
    assert again.mean.tolist() == [[[0.0]]]
    moved = Preparation(["a"], (1, 1, 2), torch.tensor([[[0.0]]]), torch.tensor([[[2.0]]]))
    assert moved.normalize(torch.tensor([[[[0.0, 0.5]]]])).tolist() == [[[[0.0, 0.25]]]]


@pytest.mark.parametrize("normalization", ["unit", "standard", "mean_image"])
def test_every_normalization_comes_back_from_plain_python(normalization: Any) -> None:
    data = Synthetic(num_train_images=50, num_test_images=10, normalization=normalization)
    data.setup()
    again = Preparation.from_state(data.state_dict())
    assert torch.equal(again.mean, data.mean)
    assert torch.equal(again.std, data.std)


def test_a_folder_says_how_its_pictures_were_fitted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            _picture(tmp_path / name / f"{number}.png", [[number * 9] * 20] * 10)
    data: ImageDataModule = ImageFolder(tmp_path, image_size=8, fit="pad", channels=1, batch_size=2, root=tmp_path)
    data.prepare_data()
    data.setup()
    assert data.state_dict()["fit"] == "pad"
    positions = data.splits["test"]
    read = Preparation.from_state(data.state_dict()).read(tmp_path / "a" / "3.png")
    assert any(
        torch.equal(read, image) for split in (positions, data.splits["train"], data.splits["val"]) for image in split[:][0]
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mean": [1.0, 2.0]}, "does not say how its images were prepared"),
        ({"image_shape": [1, 2]}, "does not say how its images were prepared"),
        ({"image_shape": [1, 10**5, 10**5]}, "asks for images of 1 x 100000 x 100000"),
        ({"image_shape": [2, 2, 3], "mean": [0.0] * 2, "std": [1.0] * 2}, "asks for images of 2 x 2 x 3"),
        ({"fit": "stretch"}, "by 'stretch', which cannot be"),
        ({"class_names": None}, "does not say how its images were prepared"),
    ],
)
def test_a_state_that_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    state = {**_preparation().state_dict(), **change}
    with pytest.raises(ValueError, match=says):
        Preparation.from_state(state)


def test_a_state_with_something_missing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does not say how its images were prepared \(KeyError"):
        Preparation.from_state({"mean": [0.0]})
