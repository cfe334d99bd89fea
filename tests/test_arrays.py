import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import lab.data.arrays
from lab.data.arrays import ImageArrays


def _arrays(num: int = 12, class_names: tuple[str, ...] = ("ant", "bee", "cat")) -> ImageArrays:
    generator = torch.Generator().manual_seed(num)
    images = torch.randint(0, 256, (num, 3, 4, 5), generator=generator, dtype=torch.uint8)
    return ImageArrays(images, torch.arange(num) % len(class_names), list(class_names))


def _everything(arrays: ImageArrays) -> tuple[Tensor, Tensor]:
    return arrays[torch.arange(len(arrays))]


def _assert_same(one: ImageArrays, other: ImageArrays) -> None:
    assert len(one) == len(other)
    assert one.class_names == other.class_names
    for ours, theirs in zip(_everything(one), _everything(other), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    arrays = _arrays(class_names=("plain", 'quote " and \\', "été 日本"))
    path = tmp_path / "new" / "folders" / "train.safetensors"
    arrays.save(path)
    _assert_same(ImageArrays.load(path), arrays)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_split_without_images_is_saved_and_loaded_too(tmp_path: Path) -> None:
    empty = _arrays().select(torch.arange(0))
    empty.save(tmp_path / "empty.safetensors")
    assert len(ImageArrays.load(tmp_path / "empty.safetensors")) == 0


def test_a_selection_is_saved_in_its_own_order_and_nothing_else_is(tmp_path: Path) -> None:
    arrays = _arrays()
    positions = torch.tensor([7, 1, 1, 4])
    arrays.select(positions).save(tmp_path / "some.safetensors")
    loaded = ImageArrays.load(tmp_path / "some.safetensors")
    assert loaded.images.shape[0] == 4
    assert torch.equal(loaded[:][0], arrays[positions][0])
    assert torch.equal(loaded.labels, arrays.labels[positions])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
def test_a_loaded_split_is_mapped_from_its_file_instead_of_copied(tmp_path: Path) -> None:
    path = tmp_path / "mapped.safetensors"
    _arrays().save(path)
    loaded = ImageArrays.load(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    assert len(loaded) == 12


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is shared")
def test_whoever_opens_the_same_store_shares_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "shared.safetensors"
    ImageArrays(torch.ones(4000, 1, 32, 32, dtype=torch.uint8), torch.zeros(4000, dtype=torch.int64), ["a"]).save(path)
    opened = [ImageArrays.load(path) for _ in range(2)]
    assert [int(arrays[:][0].sum()) for arrays in opened] == [4000 * 32 * 32] * 2  # every page has been read
    mapped = re.findall(rf"{re.escape(str(path))}\n((?:[A-Z]\w+: .*\n)+)", Path("/proc/self/smaps").read_text())
    kilobytes = [dict(re.findall(r"(\w+): +(\d+) kB", text)) for text in mapped]
    resident, own_share, copied = (sum(int(found[name]) for found in kilobytes) for name in ("Rss", "Pss", "Anonymous"))
    assert resident >= 2 * 4000
    assert own_share == resident / 2  # in which a page that two have counts half for each
    assert copied == 0


def test_a_split_can_be_saved_over_the_file_it_was_loaded_from(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    _arrays().save(path)
    loaded = ImageArrays.load(path)
    loaded.select(torch.arange(11, -1, -1)).save(path)
    _assert_same(ImageArrays.load(path), _arrays().select(torch.arange(11, -1, -1)))


def test_an_int_a_slice_and_a_tensor_gather_what_they_gather_of_a_tensor() -> None:
    arrays = _arrays()
    image, label = arrays[5]
    assert torch.equal(image, arrays.images[5])
    assert label.item() == arrays.labels[5].item()
    for index in (slice(2, 9, 3), torch.tensor([3, 0, 3, 11]), torch.tensor([], dtype=torch.int64)):
        images, labels = arrays[index]
        assert torch.equal(images, arrays.images[index])
        assert torch.equal(labels, arrays.labels[index])


def test_a_selection_is_indexed_by_its_own_positions() -> None:
    arrays = _arrays()
    positions = [9, 2, 4, 7]
    selection = arrays.select(torch.tensor(positions))
    assert len(selection) == len(positions)
    for place, position in enumerate(positions):
        assert torch.equal(selection[place][0], arrays.images[position])
        assert selection[place][1] == arrays.labels[position]
    assert torch.equal(selection[1:3][0], arrays[torch.tensor([2, 4])][0])
    assert torch.equal(selection[torch.tensor([3, 0])][0], arrays[torch.tensor([7, 9])][0])


def test_a_selection_of_a_selection_counts_from_the_first_selection() -> None:
    arrays = _arrays()
    first = torch.tensor([8, 6, 4, 2, 0])
    second = torch.tensor([4, 0, 2])
    nested = arrays.select(first).select(second)
    _assert_same(nested, arrays.select(torch.tensor([0, 8, 4])))
    _assert_same(nested.select(torch.tensor([1])), arrays.select(torch.tensor([8])))


def test_a_selection_shares_the_memory_of_its_images() -> None:
    arrays = _arrays()
    selection = arrays.select(torch.tensor([1, 2])).select(torch.tensor([0]))
    assert selection.images is arrays.images


def test_a_selection_may_have_labels_and_class_names_of_its_own() -> None:
    arrays = _arrays()
    selection = arrays.select(torch.tensor([2, 5]), torch.tensor([1, 0]), ["dog", "eel"])
    assert selection.labels.tolist() == [1, 0]
    assert selection.class_names == ["dog", "eel"]
    assert torch.equal(selection[:][0], arrays[torch.tensor([2, 5])][0])
    assert arrays.class_names == ["ant", "bee", "cat"]


GOOD_IMAGES = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
GOOD_LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        (GOOD_IMAGES.float(), GOOD_LABELS, "uint8"),
        (GOOD_IMAGES.squeeze(1), GOOD_LABELS, r"\(2, 3, 3\)"),
        (GOOD_IMAGES, GOOD_LABELS.int(), "int64"),
        (GOOD_IMAGES, torch.tensor([0, 1, 1]), r"int64 \(2,\), not torch.int64 \(3,\)"),
        (GOOD_IMAGES, GOOD_LABELS.unsqueeze(1), r"\(2, 1\)"),
        (GOOD_IMAGES, torch.tensor([0, 2]), "0 to 1"),
        (GOOD_IMAGES, torch.tensor([-1, 1]), "0 to 1"),
    ],
    ids=["float images", "no channels", "int32 labels", "too many labels", "a column of labels", "label too large", "negative"],
)
def test_images_or_labels_of_another_type_shape_or_range_are_refused(images: Tensor, labels: Tensor, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        ImageArrays(images, labels, ["ant", "bee"])


def _assert_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="is not an image store") as refusal:
        ImageArrays.load(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.2, 0.9])
def test_a_truncated_store_is_refused_by_name(tmp_path: Path, share: float) -> None:
    path = tmp_path / "train.safetensors"
    _arrays(300).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    _assert_refused(path)


def test_a_store_that_lacks_its_last_byte_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    _arrays().save(path)
    path.write_bytes(path.read_bytes()[:-1])
    _assert_refused(path)


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("These are not the images you are looking for.\n" * 20)
    _assert_refused(path)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"images": GOOD_IMAGES, "labels": GOOD_LABELS}, None),
        ({"images": GOOD_IMAGES, "labels": GOOD_LABELS}, {"class_names": "not json"}),
        ({"weight": GOOD_IMAGES}, {"class_names": json.dumps(["ant", "bee"])}),
        ({"images": GOOD_IMAGES.float(), "labels": GOOD_LABELS}, {"class_names": json.dumps(["ant", "bee"])}),
        ({"images": GOOD_IMAGES, "labels": GOOD_LABELS}, {"class_names": json.dumps(["ant"])}),
    ],
    ids=["no class names", "broken class names", "no images", "float images", "too few class names"],
)
def test_a_safetensors_file_of_something_else_is_refused_by_name(
    tmp_path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata=metadata)
    _assert_refused(path)


def test_a_save_that_fails_midway_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.safetensors"
    _arrays(12).save(path)

    def fill_the_disk(tensors: dict[str, Tensor], filename: Path, metadata: dict[str, str]) -> None:
        filename.write_bytes(b"the first few bytes")
        raise OSError("No space left on device")

    monkeypatch.setattr(lab.data.arrays, "save_file", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        _arrays(6).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    _assert_same(ImageArrays.load(path), _arrays(12))


def test_a_first_save_that_fails_leaves_no_file_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tensors: dict[str, Tensor], filename: Path, metadata: dict[str, str]) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr(lab.data.arrays, "save_file", refuse)
    with pytest.raises(OSError, match="Read-only"):
        _arrays().save(tmp_path / "train.safetensors")
    assert list(tmp_path.iterdir()) == []
