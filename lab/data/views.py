"""Images that are made of others as they are asked for, without copying what is not."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """What images (N, C, H, W) are taken from: a tensor, or a view of this module."""

    @property
    def shape(self) -> torch.Size:
        """N, C, H, W."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return the images (M, C, H, W) at positions (M,), of a slice, or the one at an int."""


def taken(values: Any, index: int | slice | Tensor) -> Any:
    """Return ``values[index]``, of positions (M,), from 0, in a tenth of the time that indexing takes for rows of bytes."""
    if isinstance(values, Tensor) and isinstance(index, Tensor) and index.ndim == 1 and index.dtype == torch.int64:
        return values.index_select(0, index.to(values.device, non_blocking=values.is_cuda))
    return values[index]


class Stacked:
    """Images (N_i, C, H, W) one after the other, indexed as if they were one."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self.parts = parts
        self.ends = torch.tensor([part.shape[0] for part in parts]).cumsum(0)
        self.shape = torch.Size((int(self.ends[-1]), *parts[0].shape[1:]))

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        rows = _rows(self, index)
        images = torch.empty(*rows.shape, *self.shape[1:], dtype=torch.uint8)
        part_of = torch.bucketize(rows, self.ends, right=True)
        for number, (part, end) in enumerate(zip(self.parts, self.ends.tolist(), strict=True)):
            here = part_of == number
            images[here] = taken(part, rows[here] - end + part.shape[0])
        return images


class Inverted:
    """Images with 255 for 0 and 0 for 255."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.shape = images.shape

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        return 255 - taken(self.images, index)  # type: ignore[no-any-return]


class Turned:
    """Square images, then all of them turned by 90 degrees counter-clockwise, then by 180 and by 270: (4 N, C, H, W)."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.shape = torch.Size((4 * images.shape[0], *images.shape[1:]))

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        asked = _rows(self, index)
        rows = asked.reshape(-1)  # as an index without dimensions gives the stored pixels themselves, which stay as they are
        images: Tensor = taken(self.images, rows % self.images.shape[0])
        turns_of = rows // self.images.shape[0]
        for turns in (1, 2, 3):
            here = turns_of == turns
            images[here] = images[here].rot90(turns, (2, 3))
        return images.reshape(*asked.shape, *self.shape[1:])


def _rows(images: Images, index: int | slice | Tensor) -> Tensor:
    """Return the positions (M,) of an index, or the one () of an int."""
    return index if isinstance(index, Tensor) else torch.arange(images.shape[0])[index]
