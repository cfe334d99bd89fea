"""Pictures decoded a batch at a time, in threads, so that a large folder never sits in memory."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

Read = Callable[[Path], Tensor]


class PictureBatch(NamedTuple):
    """Some pictures of a longer list.

    Args:
        images: those that could be read, uint8 (n, C, H, W).
        positions: where in the list they are, n of them.
        broken: what is wrong with each of the others, by position.
    """

    images: Tensor
    positions: list[int]
    broken: dict[int, str]


def read_batches(
    paths: Sequence[Path], read: Read, image_shape: tuple[int, int, int], batch_size: int
) -> Generator[PictureBatch, None, None]:
    """Yield pictures in order, while the next batch is being read.

    Args:
        paths: the files.
        read: returns the picture in a file, uint8 ``image_shape``, or raises ``ValueError``.
        image_shape: channels, height and width.
        batch_size: at most so many at a time.
    """
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    waiting: deque[list[Future[Tensor | str]]] = deque()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of what it reads nevertheless
            for start in range(0, len(paths), batch_size):
                waiting.append([pool.submit(_try_to_read, path, read) for path in paths[start : start + batch_size]])
                if len(waiting) == 2:
                    yield _collect(waiting.popleft(), start - batch_size, image_shape)
            for futures in waiting:
                yield _collect(futures, len(paths) - len(futures), image_shape)
    finally:
        pool.shutdown(cancel_futures=True)


def read_one(path: Path, read: Read) -> Tensor:
    """Return the picture in a file, uint8 (C, H, W).

    Raises:
        ValueError: if it cannot be read, in one line that begins with its path.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{path} cannot be read: it is {'a folder' if path.is_dir() else 'not a file'}")
    return read(path)


def _try_to_read(path: Path, read: Read) -> Tensor | str:
    try:
        return read_one(path, read)
    except ValueError as error:
        return str(error)


def _collect(futures: list["Future[Tensor | str]"], start: int, image_shape: tuple[int, int, int]) -> PictureBatch:
    results = {start + place: future.result() for place, future in enumerate(futures)}
    images = {position: result for position, result in results.items() if isinstance(result, Tensor)}
    stacked = torch.stack(list(images.values())) if images else torch.empty(0, *image_shape, dtype=torch.uint8)
    return PictureBatch(stacked, list(images), {p: result for p, result in results.items() if isinstance(result, str)})
