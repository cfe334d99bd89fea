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


class BatchLoader(DataLoader[Batch]):
    """Batches of a split, one gather each; what PyTorch's own does beside that takes as long as a small network.

    On a GPU with room for them the images lie there, as bytes, and only positions are sent.

    Args:
        arrays: images and labels.
        batches: yields the positions of each batch.
        trainer: that trains or scores on them, if there is one.
    """

    def __init__(self, arrays: ImageArrays, batches: Batches, trainer: Any = None) -> None:
        super().__init__(
            resident(arrays, getattr(getattr(trainer, "strategy", None), "root_device", None)), None, sampler=batches
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches of an epoch: the sampler says which."""
        return map(self.dataset.__getitem__, self.sampler)


def resident(arrays: ImageArrays, device: torch.device | None) -> ImageArrays:
    """Return a split whose images lie on a device that has room for them; as it is where there is none, as on a CPU."""
    if device is None or len(arrays) * math.prod(arrays.images.shape[1:]) > room_on(device):
        return arrays
    images, labels = arrays[:]
    return ImageArrays.of_rows(images.to(device), None, labels.to(device), arrays.class_names)


def room_on(device: torch.device) -> int:
    """Return how many bytes of images a device may hold: half of what is free on a GPU, which also has a network to train."""
    return int(torch.cuda.mem_get_info(device)[0]) // 2 if device.type == "cuda" else 0
