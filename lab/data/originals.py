"""From the original files of a data set to its store: what data sets that are converted once have in common."""

import contextlib
import io
import logging
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from safetensors import SafetensorError

from lab.data.arrays import ImageArrays

log = logging.getLogger(__name__)
Read = Callable[[str], ImageArrays]


def convert(stores: dict[str, Path], read: Read) -> None:
    """Make the store of every split that has none; where it cannot be written, the originals are read anew each time."""
    for split, path in stores.items():
        if path.exists():
            continue
        arrays = read(split)
        try:
            arrays.save(path)
        except (OSError, SafetensorError) as error:
            log.warning("%s cannot be written (%s), so the original files are read anew in every run", path, error)


def open_stores(
    stores: dict[str, Path], read: Read, class_names: dict[str, list[str]], image_shape: tuple[int, int, int]
) -> dict[str, ImageArrays]:
    """Open the stores, or read the original files of a split that has none.

    Raises:
        ValueError: if a store holds other classes than these of its split, or images of another shape, naming the file.
    """
    splits = {split: ImageArrays.load(path) if path.exists() else read(split) for split, path in stores.items()}
    for split, arrays in splits.items():
        shape = tuple(arrays.images.shape[1:])
        if arrays.class_names != class_names[split] or shape != image_shape:
            raise ValueError(
                f"{stores[split]} holds {len(arrays.class_names)} classes of images {shape}, not the "
                f"{len(class_names[split])} classes of images {image_shape} of this data set, by their names and in their "
                "order; delete it to have it made again"
            )
    return splits


def download(name: str, root: Path, folder: Path, fetch: Callable[[], object], by_hand: str) -> None:
    """Bring original files to a folder, quietly.

    Args:
        name: that of the data set; root: the folder asked for by the user.
        folder: where the files go.
        fetch: downloads them and verifies their checksums.
        by_hand: what to put where by hand, to end the message if they cannot be downloaded.

    Raises:
        ValueError: if nothing can be written there, or if they cannot be downloaded.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{name} is not in {root}, where nothing can be written ({error.strerror}): name another by --data.root"
        ) from error
    log.warning("downloading %s to %s", name, folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            fetch()
    except (OSError, RuntimeError, HTTPException) as error:
        with contextlib.suppress(OSError):  # from the first that is not empty
            for path in made:
                path.rmdir()
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise ValueError(f"{name} is not in {root} and cannot be downloaded ({reason}): {by_hand}") from error
