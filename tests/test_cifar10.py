import hashlib
import pickle
import shutil
import tarfile
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from lab.data import cifar10, originals
from lab.data.arrays import ImageArrays
from lab.data.cifar10 import CIFAR10

NUM = 20  # records in a file, in place of 10,000
FILES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
SOURCE = torchvision.datasets.CIFAR10


@pytest.fixture(autouse=True)
def _small_and_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", refuse)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", refuse)
    monkeypatch.setattr(cifar10, "IMAGES_A_FILE", NUM)


def _records() -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Make the six files of a small data set: records of a label and 3 x 32 x 32 pixels."""
    random = np.random.default_rng(0)
    records = {name: random.integers(0, 256, (NUM, 3073), np.uint8) for name in FILES}
    for array in records.values():
        array[:, 0] = random.permutation(np.arange(NUM) % 10)
    return records


def _write_binary(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in _records().items():
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def _write_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files that torchvision reads, and make their checksums those that it expects."""
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, Any] = {name: {"data": r[:, 1:], "labels": r[:, 0].tolist()} for name, r in _records().items()}
    contents["batches.meta"] = {"label_names": CIFAR10.all_class_names}
    md5 = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        md5[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(SOURCE, "train_list", [[name, md5[name]] for name in FILES[:5]])
    monkeypatch.setattr(SOURCE, "test_list", [[FILES[5], md5[FILES[5]]]])
    monkeypatch.setattr(SOURCE, "meta", {**SOURCE.meta, "md5": md5["batches.meta"]})


def _ready(root: Path, **options: Any) -> CIFAR10:
    data = CIFAR10(root=root, **{"validation_size": 10, "batch_size": 10, **options})
    data.prepare_data()
    data.setup()
    return data


def _assert_holds_the_originals(data: CIFAR10) -> None:
    assert {name: len(arrays) for name, arrays in data.splits.items()} == {"train": 90, "val": 10, "test": 20}
    for files, splits in ((FILES[:5], ("train", "val")), (FILES[5:], ("test",))):
        wanted = {record[1:].tobytes(): record[0] for name in files for record in _records()[name]}
        found = {
            image.numpy().tobytes(): int(label) for split in splits for image, label in zip(*data.splits[split][:], strict=True)
        }
        assert found == wanted


@pytest.mark.parametrize("folder", ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar10", "."])
def test_the_binary_version_is_found_in_its_folder_below_the_root_or_in_the_root(folder: str, tmp_path: Path) -> None:
    _write_binary(tmp_path / folder)
    data = _ready(tmp_path)
    _assert_holds_the_originals(data)
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (10, *data.image_shape) == (10, 3, 32, 32)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("folder", [".", "cifar10"])
def test_the_python_version_is_found_where_torchvision_keeps_it(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_pickles(tmp_path / folder / "cifar-10-batches-py", monkeypatch)
    _assert_holds_the_originals(_ready(tmp_path))


def test_both_versions_give_the_same_images_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_binary(tmp_path / "binary")
    _write_pickles(tmp_path / "pickles" / "cifar-10-batches-py", monkeypatch)
    for split in ("train", "test"):
        binary, pickles = (CIFAR10(root=tmp_path / kind).read_original(split) for kind in ("binary", "pickles"))
        assert torch.equal(binary[:][0], pickles[:][0])
        assert torch.equal(binary.labels, pickles.labels)
        theirs = SOURCE(tmp_path / "pickles", train=split == "train")
        assert torch.equal(binary[:][0], torch.from_numpy(theirs.data).permute(0, 3, 1, 2))


def test_a_pickle_of_an_old_numpy_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_with_warning(*_: Any, **__: Any) -> Any:
        warnings.warn("dtype(): align should be a bool", np.exceptions.VisibleDeprecationWarning, stacklevel=1)
        return load(*_, **__)

    _write_pickles(tmp_path / "cifar-10-batches-py", monkeypatch)
    load = pickle.load
    monkeypatch.setattr(pickle, "load", load_with_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(CIFAR10(root=tmp_path).read_original("test")) == NUM


def test_the_classes_and_the_size_of_the_validation_split_are_known_before_anything_is_read() -> None:
    data = CIFAR10(root="nowhere")
    assert data.num_classes == 10
    assert (data.class_names[0], data.class_names[9]) == ("airplane", "truck")
    assert data.default_validation_size == 1_000
    assert CIFAR10(root="nowhere", classes=["cat", "dog"]).num_classes == 2


def test_files_are_converted_once_and_not_needed_again(tmp_path: Path) -> None:
    _write_binary(tmp_path / "cifar-10-batches-bin")
    _ready(tmp_path)
    shutil.rmtree(tmp_path / "cifar-10-batches-bin")
    assert sorted(path.name for path in (tmp_path / "cifar10").glob("*.safetensors")) == [
        "test.safetensors",
        "train.safetensors",
    ]
    _assert_holds_the_originals(_ready(tmp_path))


def test_a_store_is_preferred_to_the_originals_and_only_a_missing_one_is_made(tmp_path: Path) -> None:
    _write_binary(tmp_path)
    _ready(tmp_path)
    marked = ImageArrays(torch.zeros(10, 3, 32, 32, dtype=torch.uint8), torch.arange(10), CIFAR10.all_class_names)
    marked.save(tmp_path / "cifar10" / "test.safetensors")
    (tmp_path / "cifar10" / "train.safetensors").unlink()
    splits = _ready(tmp_path).splits
    assert splits["test"][:][0].sum() == 0
    assert len(splits["train"]) == 90


def test_a_store_of_other_classes_is_named(tmp_path: Path) -> None:
    _write_binary(tmp_path)
    _ready(tmp_path)
    path = tmp_path / "cifar10" / "test.safetensors"
    for names, side in ((CIFAR10.all_class_names[::-1], 32), (CIFAR10.all_class_names, 28)):
        ImageArrays(torch.zeros(10, 3, side, side, dtype=torch.uint8), torch.arange(10), names).save(path)
        _assert_refused(tmp_path, str(path), "delete it")


def _assert_refused(root: Path, *parts: str) -> None:
    with pytest.raises(ValueError) as refusal:
        _ready(root)
    assert all(part in str(refusal.value) for part in parts), refusal.value
    assert "\n" not in str(refusal.value)


def test_a_root_that_cannot_be_written_to_is_read_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: ImageArrays, path: Path) -> None:
        raise OSError(f"[Errno 30] Read-only file system: '{path}'")

    monkeypatch.setattr(ImageArrays, "save", refuse)
    _write_pickles(tmp_path / "cifar-10-batches-py", monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        _assert_holds_the_originals(_ready(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    assert "train.safetensors cannot be written" in caplog.text


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
@pytest.mark.parametrize("num_bytes", [0, 1, 3073 * (NUM - 1), 3073 * NUM - 1, 3073 * NUM + 1, 3073 * (NUM + 1)])
def test_a_binary_file_of_another_size_is_named(name: str, num_bytes: int, tmp_path: Path) -> None:
    _write_binary(tmp_path)
    (tmp_path / name).write_bytes(bytes(num_bytes))
    _assert_refused(tmp_path, f"{tmp_path / name} is not a whole CIFAR-10 file", f"{num_bytes} bytes, not {3073 * NUM}")


def test_a_binary_file_with_an_eleventh_class_is_named(tmp_path: Path) -> None:
    _write_binary(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    _assert_refused(tmp_path, str(path), "label 10")


def test_without_files_and_offline_one_line_says_what_to_put_where(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there"
    _assert_refused(
        root, f"CIFAR-10 is not in {root}", "https://", f"cifar-10-python.tar.gz from {SOURCE.url} into {root}", "--data.root"
    )
    assert list(tmp_path.iterdir()) == []  # the folders made for the download are gone


def test_a_binary_version_with_a_file_missing_is_asked_for_whole(tmp_path: Path) -> None:
    _write_binary(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    _assert_refused(tmp_path, "six .bin files", str(tmp_path / "cifar-10-batches-bin"))


def test_a_root_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _assert_refused(tmp_path / "file" / "root", "where nothing can be written (Not a directory)")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("File not found or corrupted."), RuntimeError("Tried this:\nTried that"), TimeoutError()],
    ids=["corrupted", "many lines", "an error without words"],
)
def test_a_download_that_fails_in_any_way_says_what_to_put_where(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: torchvision.datasets.CIFAR10) -> None:
        raise error

    monkeypatch.setattr(SOURCE, "download", fail)
    _assert_refused(tmp_path, f"CIFAR-10 is not in {tmp_path}", str(error).split(":")[0])


class Malicious:
    """What a pickle of it does when it is opened: make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("name", [*FILES, "batches.meta"])
def test_a_pickle_whose_checksum_is_not_the_published_one_is_never_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, marker = tmp_path / "cifar-10-batches-py", tmp_path / "executed"
    _write_pickles(folder, monkeypatch)
    (folder / name).write_bytes(pickle.dumps(Malicious(marker)))
    _assert_refused(tmp_path, f"{folder} is not as it was published, so it is not opened")
    with pytest.raises(ValueError, match="call prepare_data"):
        CIFAR10(root=tmp_path).setup()
    assert not marker.exists()
    pickle.loads((folder / name).read_bytes())
    assert marker.exists()  # it would have done so


def test_a_tampered_pickle_does_not_keep_the_binary_version_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_pickles(tmp_path / "cifar-10-batches-py", monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Malicious(tmp_path / "executed")))
    _write_binary(tmp_path / "cifar-10-batches-bin")
    _assert_holds_the_originals(_ready(tmp_path))
    assert not (tmp_path / "executed").exists()


def test_an_archive_put_there_by_hand_is_unpacked_if_its_checksum_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_pickles(tmp_path / "elsewhere" / "cifar-10-batches-py", monkeypatch)
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "elsewhere" / "cifar-10-batches-py", "cifar-10-batches-py")
    _assert_refused(tmp_path, "CIFAR-10 is not in")  # by the checksum of the real archive
    monkeypatch.setattr(SOURCE, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    _assert_holds_the_originals(_ready(tmp_path))


def test_what_is_downloaded_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    downloads = []

    def download(self: torchvision.datasets.CIFAR10) -> None:
        downloads.append(self.root)
        _write_pickles(Path(self.root) / self.base_folder, monkeypatch)

    monkeypatch.setattr(SOURCE, "download", download)
    for _ in range(2):
        _assert_holds_the_originals(_ready(tmp_path / "images"))
    assert downloads == [str(tmp_path / "images")]
    assert [record.name for record in caplog.records] == [originals.log.name]  # the download, once
