"""What lies where in a folder of pictures: its splits, its classes and its files, found without opening a picture."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lab.data.pictures import ENDINGS

SPLITS = ("train", "val", "test", "extra")
NOT_READ = frozenset((".heic", ".heif", ".avif", ".jxl", ".jp2"))  # pictures too: to leave them out unsaid would mislead


class PictureFile(NamedTuple):
    """A file, where it is, and by what a change of it shows: its bytes and the time of its last change, in nanoseconds."""

    path: Path
    name: str  # its path below the folder of its class, with /
    num_bytes: int
    changed: int


class Skipped(NamedTuple):
    """What was not gone into: links that lead back to a folder in which they lie, and folders that cannot be read."""

    loops: list[Path]
    unreadable: list[OSError]


def find_classes(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the class folders by name, of each split there is; ``train`` alone where classes lie in the folder itself.

    Raises:
        ValueError: if the folder is not there, or has nothing like that in it.
    """
    if not folder.is_dir():
        raise ValueError(f"data.folder {folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    inside = _subfolders(folder)
    if not inside.keys() <= set(SPLITS):
        if "train" in inside and _subfolders(inside["train"]):
            stranger = min(inside.keys() - set(SPLITS))
            raise ValueError(f"data.folder {folder} has {stranger} beside train; there may only be val, test and extra")
        return {"train": inside}  # a class of locomotives may be called train
    if inside and "train" not in inside:
        raise ValueError(f"data.folder {folder} has {' and '.join(inside)}, but no train")
    splits = {split: _subfolders(inside[split]) for split in SPLITS if split in inside} or {"train": {}}
    for split, classes in splits.items():
        if not classes:
            raise ValueError(
                f"data.folder {inside.get(split, folder)} has no folders in it; put the pictures of each class into one"
            )
    return splits


def list_pictures(folder: Path) -> list[PictureFile]:
    """Return the pictures in a folder and below, sorted; what is hidden or has no picture's ending is left out.

    Raises:
        ValueError: if there are files, but none with the ending of a picture, or one of these cannot be opened, or there is
            one in a format that is not read.
    """
    files = list_files(folder)
    for path in files:
        if path.suffix.lower() in NOT_READ:
            raise ValueError(f"{path} cannot be read: {path.suffix} is not supported; convert it to JPEG or PNG")
    pictures = [path for path in files if path.suffix.lower() in ENDINGS]
    if files and not pictures:
        raise ValueError(f"{folder} has files, such as {files[0].name}, but none that ends in {', '.join(sorted(ENDINGS))}")
    return sorted(_picture_file(path, folder) for path in pictures)


def list_files(folder: Path, skipped: Skipped | None = None) -> list[Path]:
    """Return what is no folder in a folder and below, but for what is hidden; each folder is gone into once.

    Args:
        folder: the folder.
        skipped: notes what is not gone into; None to raise where a folder cannot be read.
    """
    return list(_files(folder, set(), skipped))


def list_beside(folder: Path, skipped: Skipped) -> list[Path]:
    """Return the pictures that lie in a folder itself, not below it."""
    endings = ENDINGS | NOT_READ
    return [path for path, is_folder in _visible(folder, skipped) if not is_folder and path.suffix.lower() in endings]


def _picture_file(path: Path, folder: Path) -> PictureFile:
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise ValueError(f"{path} cannot be read: it is not a file")
    return PictureFile(path, path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)


def _subfolders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path, is_folder in _visible(folder) if is_folder}


def _files(folder: Path, seen: set[Path], skipped: Skipped | None) -> Iterator[Path]:
    """Yield what is no folder in a folder and below, going into each folder once, by whatever links it can be reached."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    try:
        inside = list(_visible(folder, skipped))
    except OSError as error:
        if skipped is None:
            raise
        skipped.unreadable.append(error)
        return
    for path, is_folder in inside:
        if is_folder:
            yield from _files(path, seen, skipped)
        else:
            yield path


def _visible(folder: Path, skipped: Skipped | None = None) -> Iterator[tuple[Path, bool]]:
    """Yield what is in a folder, sorted, and whether it is a folder; no hidden ones, nor links back to where this lies."""
    real = folder.resolve()
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        path = Path(entry.path)
        is_folder = path.is_dir() if entry.is_symlink() else entry.is_dir()
        if not (is_folder and entry.is_symlink() and path.resolve() in (real, *real.parents)):
            yield path, is_folder
        elif skipped is not None:
            skipped.loops.append(path)
