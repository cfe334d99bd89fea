import contextlib
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision
from filelock import FileLock
from PIL import Image

from lab.data import MNIST, ImageFolder, alone, picture_cache
from lab.data.alone import alone_in
from lab.data.arrays import ImageArrays
from lab.data.picture_store import decode_all

NUM_AT_ONCE = 4


def _at_once(act: Callable[[], None]) -> list[BaseException]:
    """Call it in threads, each of which takes the lock as a process would; return what they raised."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(NUM_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_one_is_in_at_a_time(tmp_path: Path) -> None:
    events: list[str] = []

    def act() -> None:
        with alone_in(tmp_path / "new"):
            events.append("in")
            time.sleep(0.02)
            events.append("out")

    assert _at_once(act) == []
    assert events == ["in", "out"] * NUM_AT_ONCE


def test_different_folders_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with alone_in(tmp_path / "a"), alone_in(tmp_path / "b"):
        assert (tmp_path / "a" / ".lock").exists() and (tmp_path / "b" / ".lock").exists()


def test_an_error_lets_the_next_in_and_leaves_no_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="no network"), alone_in(tmp_path / "root" / "mnist"):
            raise ValueError("no network")
        assert list(tmp_path.iterdir()) == []


def test_one_that_leaves_late_takes_nothing_away_from_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, release = [], FileLock.release

    def release_and_wait(lock: FileLock, force: bool = False) -> None:
        release(lock, force)
        time.sleep(0.1)  # in which another gets in

    def act() -> None:
        for _ in range(2):
            with contextlib.suppress(ConnectionError), alone_in(tmp_path / "root" / "mnist"):
                inside.append(1)
                time.sleep(0.15)
                assert len(inside) == 1 and (tmp_path / "root" / "mnist").is_dir()
                inside.pop()
                raise ConnectionError

    monkeypatch.setattr(FileLock, "release", release_and_wait)
    assert _at_once(act) == []


def test_who_waits_says_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(alone, "PATIENCE", 0.05)

    def act() -> None:
        with alone_in(tmp_path / "mnist"):
            time.sleep(0.2)

    assert _at_once(act) == []
    assert f"waiting for another process, which prepares {tmp_path / 'mnist'}" in caplog.text


def test_what_was_made_there_stays(tmp_path: Path) -> None:
    with alone_in(tmp_path / "mnist"):
        (tmp_path / "mnist" / "train.safetensors").touch()
    assert (tmp_path / "mnist" / "train.safetensors").exists()


def test_where_no_folder_can_be_made_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with alone_in(tmp_path / "file" / "mnist"):
        pass
    assert (tmp_path / "file").read_text() == "not a folder"


def test_two_runs_that_begin_at_once_download_a_data_set_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = []

    def download(self: torchvision.datasets.MNIST) -> None:
        downloads.append(self.raw_folder)
        time.sleep(0.1)
        images = struct.pack(">4I", 0x803, 1, 28, 28) + bytes(28 * 28)
        labels = struct.pack(">2I", 0x801, 1) + bytes([7])
        for prefix in ("train", "t10k"):
            Path(self.raw_folder, f"{prefix}-images-idx3-ubyte").write_bytes(images)
            Path(self.raw_folder, f"{prefix}-labels-idx1-ubyte").write_bytes(labels)

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    monkeypatch.setattr(torchvision.datasets.MNIST, "_load_data", lambda self: (None, None))
    assert _at_once(lambda: MNIST(root=tmp_path).prepare_data()) == []
    assert len(downloads) == 1
    assert ImageArrays.load(tmp_path / "mnist" / "test.safetensors").labels.tolist() == [7]


def test_two_runs_that_begin_at_once_decode_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    for name in "ab":
        for number in range(4):
            path = tmp_path / "pictures" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (10 * number, 20, 30)).save(path)

    def slowly(*arguments: object) -> None:
        decoded.append(arguments)
        time.sleep(0.1)
        decode_all(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(picture_cache, "decode_all", slowly)
    assert _at_once(lambda: ImageFolder(folder=tmp_path / "pictures", image_size=8, root=tmp_path).prepare_data()) == []
    assert len(decoded) == 1
