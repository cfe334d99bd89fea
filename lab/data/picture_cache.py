"""Where the stores of a folder of pictures are kept, and when they are made anew."""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lab.data.alone import alone_in
from lab.data.layout import PictureFile
from lab.data.picture_store import decode_all
from lab.data.pictures import Fit

VERSION = 1  # of how pictures become arrays; after a change of that it is counted up, and every store made anew
ONE_DAY = 24 * 60 * 60


class Entry(NamedTuple):
    """A picture of a split: which of several folders it is from, its label and its file."""

    folder: int
    label: int
    file: PictureFile


def find_or_make(
    places: Sequence[Path], kind: str, entries: Sequence[Entry], class_names: list[str], size: int, fit: Fit, channels: int
) -> Path:
    """Return the store that holds these pictures as they are now, after making it where there is none.

    Args:
        places: folders for stores, the first that can be written is used.
        kind: what, with the settings, tells a store from others of the same place; of one kind only the newest is kept.
        entries: the N pictures, in the order of the store.
        class_names: name of each class, by label.
        size, fit, channels: as for ``decode``.

    Raises:
        ValueError: if pictures cannot be read, or no place can be written.
    """
    kind = f"{kind}-{size}-{fit}-{channels}-"
    # Not the path, so that a folder can be moved together with its stores.
    content = ((entry.folder, entry.label, *entry.file[1:]) for entry in entries)
    name = f"{kind}{digest(VERSION, class_names, *content)}.safetensors"
    for place in places:
        if os.access(place / name, os.R_OK):
            return place / name
    paths, labels = [entry.file.path for entry in entries], [entry.label for entry in entries]
    refusals = []
    for place in places:
        try:
            with alone_in(place):
                if not os.access(place / name, os.R_OK):  # another process has just made it
                    decode_all(paths, labels, class_names, place / name, size, fit, channels)
        except OSError as error:
            refusals.append(f"in {place} ({error.strerror})")
        else:
            _remove_old(place, kind, name)
            return place / name
    raise ValueError(f"nothing can be written {' or '.join(refusals)}; name a folder for it by data.root")


def digest(*parts: object) -> str:
    """Return 16 letters and digits that stand for these things, by what they print as."""
    return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:16]


def _remove_old(place: Path, kind: str, newest: str) -> None:
    """Remove the stores of this kind that were made of other pictures, and what a process that was killed has left of one."""
    for path in (*place.glob(f"{kind}*"), *place.glob(f".{kind}*")):
        with contextlib.suppress(OSError):
            if path.name != newest and (not path.name.startswith(".") or path.stat().st_mtime < time.time() - ONE_DAY):
                path.unlink()
