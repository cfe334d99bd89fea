import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from lab.data.array_file import Arrays
from lab.data.arrays import ImageArrays

Array = np.ndarray[Any, np.dtype[Any]]
BOTH = pytest.mark.parametrize("ending", [".npz", ".safetensors"])


def _images(num: int = 30, *shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, (num, *(shape or (6, 5))), np.uint8)


def _labels(num: int = 30) -> Array:
    return np.arange(num) % 3


def _save(path: Path, class_names: list[str] | None = None, **arrays: Array) -> Path:
    if path.suffix == ".npz":
        every: dict[str, Any] = arrays if class_names is None else {**arrays, "class_names": np.array(class_names)}
        np.savez(path, **every)
    else:
        save_file(arrays, path, metadata=None if class_names is None else {"class_names": json.dumps(class_names)})
    return path


def _ready(path: Path, **options: Any) -> Arrays:
    data = Arrays(path, **options)
    data.setup()
    return data


def _refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ValueError) as refusal:
        _ready(path, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@BOTH
@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (3, 6, 5), (6, 5, 1), (6, 5, 3), (28, 3, 3), (3, 28, 28), (3, 9, 5)])
def test_images_of_every_arrangement_become_channels_height_width(shape: tuple[int, ...], ending: str, tmp_path: Path) -> None:
    images = _images(30, *shape)
    path = _save(tmp_path / f"a{ending}", images=images, labels=_labels())
    if len(shape) == 2:
        images = images[:, None]
    elif shape[-1] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    data = _ready(path)
    assert data.image_shape == images.shape[1:]
    found = sorted(image.numpy().tobytes() for arrays in data.splits.values() for image in arrays[:][0])
    assert found == sorted(image.tobytes() for image in images)
    batch, labels = next(iter(data.train_dataloader()))
    assert (batch.dtype, labels.dtype, batch.shape[1:]) == (torch.uint8, torch.int64, images.shape[1:])


@BOTH
def test_an_arrangement_that_may_be_either_is_refused(ending: str, tmp_path: Path) -> None:
    for shape in ((3, 9, 3), (1, 28, 1), (3, 3, 3)):
        path = _save(tmp_path / f"a{ending}", images=_images(30, *shape), labels=_labels())
        assert "N x C x H x W or N x H x W x C; save them with more than 3 pixels a side" in _refusal(path)


@BOTH
@pytest.mark.parametrize("shape", [(2, 6, 5), (), (6,), (4, 6, 5, 3), (0, 5), (3, 0, 5)])
def test_images_that_are_none_are_refused(shape: tuple[int, ...], ending: str, tmp_path: Path) -> None:
    path = _save(tmp_path / f"a{ending}", images=np.zeros((30, *shape), np.uint8), labels=_labels())
    message = f"images of {path} must be N x H x W, N x H x W x C or N x C x H x W with C 1 or 3, not (30,"
    assert _refusal(path).startswith(message)


@BOTH
def test_images_that_are_not_bytes_are_refused_with_the_line_that_converts_them(ending: str, tmp_path: Path) -> None:
    for kind, name in ((np.float32, "F32"), (np.float64, "F64"), (np.float16, "F16")):
        images = (_images() / 255).astype(kind)
        path = _save(tmp_path / f"a{ending}", images=images, labels=_labels())
        message = _refusal(path)
        found = np.dtype(kind) if ending == ".npz" else name
        assert message.startswith(f"images of {path} must be uint8, not {found}; convert them: images = ")
        line = message.split("convert them: ")[1].split(", if")[0]
        converted: dict[str, Any] = {"images": images}
        exec(line, converted)
        assert converted["images"].dtype == np.uint8
        assert np.array_equal(converted["images"], _images())
    path = _save(tmp_path / f"a{ending}", images=_images().astype(np.int64), labels=_labels())
    assert _refusal(path).endswith("convert them: images = images.astype('uint8')")


@BOTH
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.int8])
def test_labels_are_numbered_in_their_order_and_named_by_their_numbers(kind: Any, ending: str, tmp_path: Path) -> None:
    labels = np.array([100, -5, 7] * 10).astype(kind)
    images = np.zeros((30, 4, 4), np.uint8)
    images[labels == 7] = 7
    data = _ready(_save(tmp_path / f"a{ending}", images=images, labels=labels[:, None]), classes=None)
    assert data.class_names == [str(value) for value in sorted(set(labels.tolist()))]
    seven = data.class_names.index("7")
    for arrays in data.splits.values():
        assert torch.equal(arrays[:][0][:, 0, 0, 0] == 7, arrays.labels == seven)


@BOTH
def test_classes_have_the_names_the_file_gives_them(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    names = ["zebra", "ähre", "cat"]
    assert _ready(_save(path, names, images=_images(), labels=_labels())).class_names == names
    assert _ready(_save(path, names, images=_images(), labels=_labels() * 10 + 1)).class_names == names
    assert _ready(_save(path, [*names, "none"], images=_images(), labels=_labels())).num_classes == 4
    assert _ready(path, classes=["cat", "zebra"]).class_names == ["cat", "zebra"]
    path = _save(path, names[:2], images=_images(), labels=_labels())
    assert _refusal(path) == f"{path} has 2 different class_names for 3 classes; each needs one"
    path = _save(path, ["a", "b", "a"], images=_images(), labels=_labels())
    assert "2 different class_names for 3 classes" in _refusal(path)


@BOTH
def test_the_file_may_say_what_each_image_is_for(ending: str, tmp_path: Path) -> None:
    split = np.array([0] * 18 + [1] * 3 + [2] * 9)
    images = np.arange(30, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    path = _save(tmp_path / f"a{ending}", images=images, labels=_labels(), split=split)
    for options, sizes in (({}, (18, 3, 9)), ({"validation_size": 6}, (15, 6, 9))):
        data = _ready(path, **options)
        assert tuple(len(data.splits[name]) for name in ("train", "val", "test")) == sizes
        assert data.splits["test"][:][0][:, 0, 0, 0].tolist() == list(range(21, 30))
        seen = torch.cat([arrays[:][0][:, 0, 0, 0] for arrays in data.splits.values()])
        assert sorted(seen.tolist()) == list(range(30))
    path = _save(path, images=images, labels=_labels(), split=(split > 0).astype(np.int32))
    data = _ready(path, test_size=6)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [12, 12, 6]


@BOTH
def test_a_file_of_its_own_may_be_for_testing(ending: str, tmp_path: Path) -> None:
    path = _save(tmp_path / f"a{ending}", images=_images(), labels=_labels() + 5)
    other = _save(tmp_path / "other.npz", images=_images(8, 1, 6, 5), labels=np.array([7, 5] * 4), split=np.full(8, 2))
    data = _ready(path, test_path=other)
    assert {name: len(arrays) for name, arrays in data.splits.items()} == {"train": 27, "val": 3, "test": 8}
    assert data.splits["test"].labels.tolist() == [2, 0] * 4
    assert np.array_equal(data.splits["test"][:][0].numpy(), _images(8, 1, 6, 5))
    _save(other, images=_images(8, 5, 6), labels=_labels(8) + 5)
    assert "has images (1, 5, 6)" in _refusal(path, test_path=other)
    _save(other, images=_images(8), labels=_labels(8) + 6)
    assert _refusal(path, test_path=other) == f"{other} has the label 8, which no training image has"
    assert "leave data.test_path" in _refusal(path, test_path=path)
    path = _save(path, images=_images(), labels=_labels(), split=np.array([0, 2] * 15))
    _save(other, images=_images(8), labels=_labels(8))
    assert _refusal(path, test_path=other).startswith(f"{path} has test images of its own")


@BOTH
def test_without_a_word_on_it_test_images_are_held_out_whatever_the_seed(ending: str, tmp_path: Path) -> None:
    path = _save(tmp_path / f"a{ending}", images=_images(90), labels=_labels(90))
    first, second = (_ready(path, seed=seed) for seed in (1, 2))
    assert first.splits["test"].labels.bincount().tolist() == [6, 6, 6]
    for name, arrays in first.splits.items():
        assert torch.equal(arrays[:][0], second.splits[name][:][0])
    assert len(_ready(path, test_size=30).splits["test"]) == 30
    for test_size in (0, -1, 1.0, 2.5, 90, 1e-9):
        assert _refusal(path, test_size=test_size).startswith("data.test_size ")


def test_a_store_of_this_package_is_such_a_file(tmp_path: Path) -> None:
    images, labels = torch.from_numpy(_images(30, 3, 6, 5)), torch.from_numpy(_labels())
    ImageArrays(images, labels, ["a", "b", "c"]).save(tmp_path / "a.safetensors")
    data = _ready(tmp_path / "a.safetensors")
    assert (data.class_names, data.image_shape) == (["a", "b", "c"], (3, 6, 5))


@BOTH
def test_the_images_are_not_read_before_they_are_needed(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / f"a{ending}", ["a", "b", "c"], images=_images(), labels=_labels())
    monkeypatch.setattr("lab.data.array_file.read_images", lambda _: pytest.fail("they were read"))
    assert Arrays(path).num_classes == 3


@BOTH
def test_what_is_missing_or_does_not_fit_is_named(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    assert _refusal(path) == f"{path} does not exist"
    assert _refusal(_save(path, images=_images(), y=_labels())) in (
        f"{path} cannot be read: it has no labels; it has images, y",
        f"{path} cannot be read: it has no labels; it has y, images",
    )
    for labels in (_labels(29), _labels().astype(np.float32), np.eye(3)[_labels()], np.zeros(30, np.bool_)):
        _save(path, images=_images(), labels=labels)
        assert _refusal(path).startswith(f"labels of {path} must be 30 integers, one an image")
    assert "one class, '0'" in _refusal(_save(path, images=_images(), labels=_labels() * 0))
    split = np.array([0] * 29 + [3])
    assert f"split of {path} must be 0 to train" in _refusal(_save(path, images=_images(), labels=_labels(), split=split))
    assert "is 0 nowhere" in _refusal(_save(path, images=_images(), labels=_labels(), split=split * 0 + 1))
    split = np.array([0] * 27 + [2] * 3)
    labels = np.array([0, 1, 0] * 9 + [0, 1, 2])
    assert _refusal(_save(path, images=_images(), labels=labels, split=split)) == (
        f"{path} has the label 2, which no training image has"
    )


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_named(share: float, ending: str, tmp_path: Path) -> None:
    path = _save(tmp_path / f"a{ending}", images=_images(), labels=_labels())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert _refusal(path).startswith(f"{path} cannot be read: ")


def test_pixels_that_were_damaged_are_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npz", images=_images(), labels=_labels())
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert _refusal(path).startswith(f"{path} cannot be read: Bad CRC-32")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("it ran",))

    trap = np.empty(30, object)
    trap[0] = Trap()
    np.savez(tmp_path / "a.npz", images=_images(), labels=trap)
    assert "allow_pickle" in _refusal(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=trap, labels=_labels())
    assert "must be uint8, not object" in _refusal(tmp_path / "a.npz")
    for name in ("a.pt", "a.npy", "a.pkl", "a"):
        assert _refusal(tmp_path / name) == f"{tmp_path / name} must be an .npz or a .safetensors file"
