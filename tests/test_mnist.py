import gzip
import hashlib
import shutil
import struct
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.idx import LABELS_OF
from lab.data.mnist import BUNDLED_FILE, MNIST, FashionMNIST
from lab.data.module import ImageDataModule

NUM_IMAGES = {"train": 60, "t10k": 20}
FILES = [f"{split}-{kind}-ubyte" for split in NUM_IMAGES for kind in ("images-idx3", "labels-idx1")]
BOTH = pytest.mark.parametrize("kind", [MNIST, FashionMNIST])


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", refuse)


@pytest.fixture(scope="module")
def bundled() -> MNIST:
    data = MNIST(bundled=True)
    data.prepare_data()
    data.setup()
    return data


def _pixels(arrays: ImageArrays) -> Tensor:
    return arrays[:][0].flatten(1).double() / 255


def test_the_bundled_file_is_small() -> None:
    assert BUNDLED_FILE.stat().st_size <= 1.3e6


def test_the_bundled_digits_are_five_hundred_a_class_in_three_splits(bundled: MNIST) -> None:
    assert {name: torch.bincount(arrays.labels).tolist() for name, arrays in bundled.splits.items()} == {
        "train": [400] * 10,
        "val": [50] * 10,
        "test": [50] * 10,
    }
    for arrays in bundled.splits.values():
        assert arrays[:][0].shape[1:] == bundled.image_shape == (1, 28, 28)


def test_no_bundled_digit_is_in_two_splits_or_twice_in_one(bundled: MNIST) -> None:
    seen = [image.numpy().tobytes() for arrays in bundled.splits.values() for image in arrays[:][0]]
    assert len(set(seen)) == len(seen) == 5_000


def test_the_bundled_digits_are_as_bright_as_mnist_is_known_to_be(bundled: MNIST) -> None:
    pixels = torch.cat([_pixels(arrays) for arrays in bundled.splits.values()])
    assert pixels.mean().item() == pytest.approx(0.1307, abs=0.005)
    assert pixels.std().item() == pytest.approx(0.3081, abs=0.005)


def test_the_bundled_labels_are_those_of_their_digits(bundled: MNIST) -> None:
    train, test = bundled.splits["train"], bundled.splits["test"]
    centres = torch.stack([_pixels(train)[train.labels == digit].mean(0) for digit in range(10)])
    assert (torch.cdist(_pixels(test), centres).argmin(1) == test.labels).double().mean().item() > 0.75


def test_the_bundled_digits_need_no_folder(tmp_path: Path) -> None:
    data = MNIST(bundled=True, root=tmp_path / "nowhere", classes=["7", "1"], num_images_per_class=3)
    data.prepare_data()
    data.setup()
    assert torch.bincount(data.splits["train"].labels).tolist() == [3, 3]
    assert list(tmp_path.iterdir()) == []


def _originals(seed: int = 0) -> dict[str, bytes]:
    """Make the four files of a small data set: a magic number, the sizes big-endian, then bytes."""
    random = np.random.default_rng(seed)
    files = {}
    for split, num in NUM_IMAGES.items():
        images = random.integers(0, 256, (num, 28, 28), np.uint8).tobytes()
        labels = random.permutation(np.arange(num, dtype=np.uint8) % 10).tobytes()
        files[f"{split}-images-idx3-ubyte"] = struct.pack(">4I", 2051, num, 28, 28) + images
        files[f"{split}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, num) + labels
    return files


def _write(folder: Path, ending: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _originals().items():
        (folder / (name + ending)).write_bytes(gzip.compress(content) if ending else content)


def _ready(kind: type[MNIST] | type[FashionMNIST], root: Path) -> ImageDataModule:
    data = kind(root=root, validation_size=10, batch_size=10)
    data.prepare_data()
    data.setup()
    return data


def _assert_holds_the_originals(data: ImageDataModule) -> None:
    files = _originals()
    for split, parts in (("train", ("train", "val")), ("t10k", ("test",))):
        pixels = np.frombuffer(files[f"{split}-images-idx3-ubyte"][16:], np.uint8).reshape(-1, 784)
        labels = files[f"{split}-labels-idx1-ubyte"][8:]
        wanted = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
        found = {
            image.numpy().tobytes(): int(label) for part in parts for image, label in zip(*data.splits[part][:], strict=True)
        }
        assert found == wanted


@BOTH
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("in_torchvisions_folder", [True, False])
def test_original_files_are_found_in_torchvisions_folder_or_the_root_plain_or_gzipped(
    kind: type[MNIST] | type[FashionMNIST], ending: str, in_torchvisions_folder: bool, tmp_path: Path
) -> None:
    _write(tmp_path / kind.__name__ / "raw" if in_torchvisions_folder else tmp_path, ending)
    data = _ready(kind, tmp_path)
    _assert_holds_the_originals(data)
    assert {name: len(arrays) for name, arrays in data.splits.items()} == {"train": 50, "val": 10, "test": 20}
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (10, 1, 28, 28)
    assert labels.dtype == torch.int64


def test_plain_and_gzipped_files_may_lie_in_both_folders(tmp_path: Path) -> None:
    _write(tmp_path / "MNIST" / "raw")
    for name in FILES[:2]:
        path = tmp_path / "MNIST" / "raw" / name
        (tmp_path / (name + ".gz")).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    _assert_holds_the_originals(_ready(MNIST, tmp_path))


def test_the_files_are_those_torchvision_itself_reads(tmp_path: Path) -> None:
    _write(tmp_path / "MNIST" / "raw")
    data = _ready(MNIST, tmp_path)
    theirs = torchvision.datasets.MNIST(tmp_path, train=False)
    assert torch.equal(data.splits["test"][:][0].squeeze(1), theirs.data)
    assert torch.equal(data.splits["test"].labels, theirs.targets)


def test_a_root_may_start_at_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path / "images")
    _assert_holds_the_originals(_ready(MNIST, Path("~/images")))


@BOTH
def test_files_are_converted_once_and_not_needed_again(kind: type[MNIST] | type[FashionMNIST], tmp_path: Path) -> None:
    _write(tmp_path / kind.__name__ / "raw", ".gz")
    _ready(kind, tmp_path)
    shutil.rmtree(tmp_path / kind.__name__)
    _assert_holds_the_originals(_ready(kind, tmp_path))


def test_mnist_and_fashion_mnist_share_a_root_without_mixing(tmp_path: Path) -> None:
    _write(tmp_path / "MNIST" / "raw")
    _ready(MNIST, tmp_path)
    with pytest.raises(ValueError, match="FashionMNIST is not in"):
        _ready(FashionMNIST, tmp_path)


def test_fashion_mnist_has_the_names_of_clothes() -> None:
    assert FashionMNIST.all_class_names[0] == "T-shirt/top"
    assert FashionMNIST.all_class_names[9] == "Ankle boot"
    assert FashionMNIST(classes=["Bag", "Sandal"]).num_classes == 2


def test_a_root_that_cannot_be_written_to_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ImageArrays, path: Path) -> None:
        raise OSError(f"[Errno 30] Read-only file system: '{path}'")

    monkeypatch.setattr(ImageArrays, "save", refuse)
    _write(tmp_path / "MNIST" / "raw")
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        _assert_holds_the_originals(_ready(MNIST, tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_that_was_cut_short_is_named(tmp_path: Path) -> None:
    _write(tmp_path)
    _ready(MNIST, tmp_path)
    [store] = tmp_path.rglob("test.safetensors")
    store.write_bytes(store.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not an image store") as refusal:
        _ready(MNIST, tmp_path)
    assert str(store) in str(refusal.value)


def _assert_refused(root: Path, path: Path, kind: type[MNIST] | type[FashionMNIST] = MNIST) -> None:
    with pytest.raises(ValueError, match=kind.__name__) as refusal:
        _ready(kind, root)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_that_was_cut_short_is_named(name: str, share: float, ending: str, tmp_path: Path) -> None:
    _write(tmp_path, ending)
    path = tmp_path / (name + ending)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    _assert_refused(tmp_path, path)


def test_a_broken_file_of_fashion_mnist_is_named_as_one_of_its_own(tmp_path: Path) -> None:
    _write(tmp_path / "FashionMNIST" / "raw")
    path = tmp_path / "FashionMNIST" / "raw" / FILES[0]
    path.write_bytes(path.read_bytes()[:-1])
    _assert_refused(tmp_path, path, FashionMNIST)


@pytest.mark.parametrize(
    "content",
    [b"<html>404 Not Found, and some more to be long enough</html>", _originals()[FILES[1]], _originals()[FILES[0]] + b"!"],
    ids=["a web page", "labels for images", "a byte too many"],
)
def test_a_file_that_holds_something_else_is_named(content: bytes, tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / FILES[0]).write_bytes(content)
    _assert_refused(tmp_path, tmp_path / FILES[0])


def test_a_plain_file_that_calls_itself_gzipped_is_named(tmp_path: Path) -> None:
    _write(tmp_path, ".gz")
    path = tmp_path / (FILES[2] + ".gz")
    path.write_bytes(gzip.decompress(path.read_bytes()))
    _assert_refused(tmp_path, path)


def test_a_gzipped_file_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    _write(tmp_path, ".gz")
    path = tmp_path / (FILES[0] + ".gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    path.write_bytes(content)
    _assert_refused(tmp_path, path)


def test_a_gzipped_file_with_broken_bytes_in_the_middle_is_named(tmp_path: Path) -> None:
    _write(tmp_path, ".gz")
    path = tmp_path / (FILES[0] + ".gz")
    content = bytearray(path.read_bytes())
    content[10:200] = b"\xff" * 190
    path.write_bytes(content)
    _assert_refused(tmp_path, path)


@pytest.mark.parametrize(
    "labels",
    [struct.pack(">2I", 2049, 59) + bytes(59), struct.pack(">2I", 2049, 60) + b"\x0a" * 60],
    ids=["one too few", "of an eleventh class"],
)
def test_labels_that_do_not_fit_their_images_are_named(labels: bytes, tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / FILES[1]).write_bytes(labels)
    _assert_refused(tmp_path, tmp_path / FILES[1])


@BOTH
def test_without_files_and_offline_one_line_says_what_to_put_where(
    kind: type[MNIST] | type[FashionMNIST], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"^{kind.__name__} is not in") as refusal:
        _ready(kind, tmp_path)
    message = str(refusal.value)
    assert "\n" not in message
    assert str(tmp_path / kind.__name__ / "raw") in message
    assert all(f"{name}.gz" in message for name in FILES)
    assert "http" in message


@BOTH
@pytest.mark.parametrize(
    "error",
    [
        URLError("Temporary failure in name resolution"),
        RuntimeError("File not found or corrupted."),
        RuntimeError("Error downloading:\nTried this\nTried that"),
        PermissionError(13, "Permission denied"),
        TimeoutError(),
    ],
    ids=["no name", "corrupted", "many lines", "not allowed", "an error without words"],
)
def test_a_download_that_fails_in_any_way_says_what_to_put_where(
    error: Exception, kind: type[MNIST] | type[FashionMNIST], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: torchvision.datasets.MNIST) -> None:
        raise error

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", fail)
    _assert_refused(tmp_path, tmp_path / kind.__name__ / "raw", kind)


def test_with_one_file_missing_and_offline_the_files_are_asked_for(tmp_path: Path) -> None:
    _write(tmp_path, ".gz")
    (tmp_path / (FILES[3] + ".gz")).unlink()
    with pytest.raises(ValueError, match=FILES[3]):
        _ready(MNIST, tmp_path)


@BOTH
def test_what_is_downloaded_is_converted(
    kind: type[MNIST] | type[FashionMNIST], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []

    def download(self: torchvision.datasets.MNIST) -> None:
        downloads.append(self.raw_folder)
        _write(Path(self.raw_folder))

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    for _ in range(2):
        _assert_holds_the_originals(_ready(kind, tmp_path))
    assert downloads == [str(tmp_path / kind.__name__ / "raw")]


def test_the_files_of_one_data_set_are_not_taken_for_those_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path)
    labels = (tmp_path / FILES[1]).read_bytes()[8:]
    monkeypatch.setitem(LABELS_OF, hashlib.sha256(labels).hexdigest(), "FashionMNIST")
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte belongs to FashionMNIST, not to MNIST"):
        MNIST(root=tmp_path).prepare_data()
    FashionMNIST(root=tmp_path).prepare_data()
