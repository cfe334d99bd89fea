"""Many pictures decoded, in parallel, straight into one store."""

import contextlib
import json
import os
import secrets
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lab.data.pictures import Fit, decode


def decode_all(
    paths: Sequence[Path],
    labels: Sequence[int],
    class_names: list[str],
    store_path: Path,
    size: int,
    fit: Fit = "crop",
    channels: int = 3,
) -> None:
    """Decode pictures, one thread a core, into a store that ``ImageArrays.load`` opens, never holding more than a few.

    The store is there whole or not at all.

    Args:
        paths: the N files; labels: the class of each, by its place in ``class_names``.
        store_path: the ``safetensors`` file to write; its folder is made.
        size, fit, channels: as for ``decode``.

    Raises:
        ValueError: if files cannot be read, in one line that names the first three.
        OSError: if the store cannot be written.
    """
    store_path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = store_path.with_name(f".{store_path.name}.{secrets.token_hex(4)}")
    broken: list[str] = []
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # Pillow's, of what it reads nevertheless, between the lines of a bar
            unfinished.open("xb") as file,
            contextlib.closing(_in_parallel(partial(_try_to_decode, size=size, fit=fit, channels=channels), paths)) as pictures,
        ):
            file.write(_beginning(labels, class_names, (len(paths), channels, size, size)))
            for picture in _with_progress(pictures, len(paths), store_path):
                if isinstance(picture, str):
                    broken.append(picture)
                elif not broken:  # else there will be no store, and the rest are only looked through
                    file.write(picture.numpy().tobytes())
        if broken:
            more = [f"and {len(broken) - 3} more: scripts/check_data.py names all"] if len(broken) > 3 else []
            raise ValueError(
                f"{len(broken)} of {len(paths)} pictures are to be mended or removed: {'; '.join(broken[:3] + more)}"
            )
        unfinished.replace(store_path)
    finally:
        unfinished.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # as it is not empty
            store_path.parent.rmdir()


def _beginning(labels: Sequence[int], class_names: list[str], shape: tuple[int, ...]) -> bytes:
    """Return all that comes before the pixels in a ``safetensors`` file: its header, and the labels as int64 (N,)."""
    end = 8 * len(labels)
    header = {
        "__metadata__": {"class_names": json.dumps(class_names)},
        "labels": {"dtype": "I64", "shape": [len(labels)], "data_offsets": [0, end]},
        "images": {"dtype": "U8", "shape": shape, "data_offsets": [end, end + int(np.prod(shape, dtype=np.int64))]},
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the labels lie where the processor reads 8 bytes at once
    return len(text).to_bytes(8, "little") + text + np.asarray(labels, "<i8").tobytes()


def _try_to_decode(path: Path, size: int, fit: Fit, channels: int) -> Tensor | str:
    try:
        return decode(path, size, fit, channels)
    except ValueError as error:
        return str(error)


def _in_parallel(function: Callable[[Path], Tensor | str], paths: Iterable[Path]) -> Generator[Tensor | str, None, None]:
    """Yield the results in order; Pillow lets other threads run while it decodes and resizes."""
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Tensor | str]] = deque()
    try:
        for path in paths:
            waiting.append(pool.submit(function, path))
            if len(waiting) == 32 * workers:  # enough for no thread to wait for one slow picture
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _with_progress(pictures: Iterable[Tensor | str], num: int, store_path: Path) -> Iterable[Tensor | str]:
    if sys.stderr.isatty():
        return track(pictures, "reading pictures", num, console=Console(stderr=True))
    print(f"reading {num:,} pictures into {store_path}", file=sys.stderr, flush=True)
    return pictures
