"""Batches of balanced pairs."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lab.data.batches import Batches, generator_for


class PairBatches(Batches):
    """Half of each batch is pairs of one class, half pairs of two: images 0 and 1 are a pair, 2 and 3, and so on.

    So a batch always holds pairs to learn from, however many classes there are. Which pairs a loss sees, the family says.
    Every image is in at most one pair an epoch. Half of the images, in proportion to the classes, go into pairs of one class;
    the others are lined up class by class and paired with those half the line away.

    Raises:
        ValueError: if a batch cannot hold as many pairs of one class as of two.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(labels, batch_size, seed, rank, world_size)
        if batch_size % 4:
            raise ValueError(f"data.batch_size {batch_size} must be divisible by 4 where data.pairs is on")
        self.counts = labels.bincount()
        self.num_same = int(self.counts[self.counts > 1].sum()) // 4
        num_alone = len(labels) - 2 * self.num_same
        largest = int((self.counts - 2 * (self.counts // 4)).max())
        needed, num_different = batch_size // 4 * world_size, min(num_alone // 2, num_alone // 2 * 2 - largest)
        self.num_batches = min(self.num_same, num_different) // needed
        if not self.num_batches:
            raise ValueError(
                f"data.batch_size {batch_size} needs {needed} pairs of one class and {needed} of two; the training images form "
                f"{self.num_same} and {num_different}: {'lower it' if min(self.num_same, num_different) > 0 else 'too few'}"
            )

    def __len__(self) -> int:
        return self.num_batches

    def draw(self) -> Iterator[Tensor]:
        """Yield the batches of the epoch."""
        generator = generator_for("batches", self.seed, self.epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        line = order[torch.argsort(self.labels[order], stable=True)]
        # Walking through the classes in random order, take of each its share of the pairs, rounded so that the sum is right.
        classes = torch.randperm(len(self.counts), generator=generator)
        due = torch.where(self.counts > 1, self.counts, 0)[classes].cumsum(0) // 4
        num_pairs = torch.empty_like(due)
        num_pairs[classes] = torch.diff(due, prepend=due.new_zeros(1))
        place = torch.arange(len(line)) - (self.counts.cumsum(0) - self.counts)[self.labels[line]]
        is_same = place < 2 * num_pairs[self.labels[line]]
        same, rest = line[is_same].view(-1, 2), line[~is_same]
        half = len(rest) // 2
        different = torch.stack([rest[:half], rest[half : 2 * half]], dim=1)
        different = different[self.labels[different[:, 0]] != self.labels[different[:, 1]]]
        turned = torch.rand(len(different), 1, generator=generator) < 0.5  # else the lower class would always come first
        different = torch.where(turned, different.flip(1), different)
        same, different = (pairs[torch.randperm(len(pairs), generator=generator)] for pairs in (same, different))
        num = self.batch_size // 4  # of each kind in the batch of a rank
        num_all = len(self) * num * self.num_replicas
        of_rank = [pairs[:num_all].view(len(self), num, self.num_replicas, 2)[:, :, self.rank] for pairs in (same, different)]
        yield from torch.cat(of_rank, dim=1).flatten(1)
