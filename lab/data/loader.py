"""What yields the batches of a split."""

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import DataLoader

from lab.data.arrays import ImageArrays
from lab.data.batches import Batches

Batch = tuple[Tensor, Tensor]


class BatchLoader(DataLoader[Batch]):
    """Batches of a split, one gather each; what PyTorch's own does beside that takes as long as a small network.

    Args:
        arrays: images and labels.
        batches: yields the positions of each batch.
    """

    def __init__(self, arrays: ImageArrays, batches: Batches) -> None:
        super().__init__(arrays, batch_size=None, sampler=batches)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches of an epoch: the sampler says which."""
        return map(self.dataset.__getitem__, self.sampler)
