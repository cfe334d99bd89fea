"""What yields the batches of a split."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lab.data.arrays import ImageArrays
from lab.data.batches import Batches

Batch = tuple[Tensor, Tensor]
MOVED_AT_ONCE = 4_096  # images


class BatchLoader(DataLoader[Batch]):
    """Batches of a split, one gather each; what PyTorch's own does beside that takes as long as a small network.

    Args:
        dataset: images and labels, an ``ImageArrays``.
        sampler: yields the positions of each batch.
        unused: what Lightning repeats of a loader's arguments when it makes one again.
    """

    def __init__(self, dataset: ImageArrays, *, sampler: Batches, **unused: Any) -> None:
        super().__init__(dataset, batch_size=None, sampler=sampler)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches of an epoch: the sampler says which."""
        return map(self.dataset.__getitem__, self.sampler)


def resident(arrays: ImageArrays, trainer: Any) -> ImageArrays:
    """Return a split whose images lie, as bytes, on the GPU of a trainer that has room for them, else as it is.

    A batch is a gather there then, and only positions are sent.
    """
    device = getattr(getattr(trainer, "strategy", None), "root_device", None)
    if device is None or len(arrays) * math.prod(arrays.images.shape[1:]) > room_on(device):
        return arrays
    images = torch.empty(len(arrays), *arrays.images.shape[1:], dtype=torch.uint8, device=device)
    for rows in torch.arange(len(arrays)).split(MOVED_AT_ONCE):
        images[rows[0] : rows[-1] + 1] = arrays[rows][0].to(device)
    return ImageArrays.of_rows(images, None, arrays.labels.to(device), arrays.class_names)


def room_on(device: torch.device) -> int:
    """Return how many bytes of images a device may hold: a quarter of what is free on a GPU, none on a CPU."""
    return int(torch.cuda.mem_get_info(device)[0]) // 4 if device.type == "cuda" else 0
