"""Which images form a batch: samplers that yield one index tensor a batch, the same for the same (seed, epoch, rank)."""

import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

MAX_CHUNK_ELEMENTS = 2**22  # numbers drawn at once


def generator_for(purpose: str, *numbers: int) -> torch.Generator:
    """Make a generator on the CPU whose stream depends on what it is for and these numbers, none negative, and nothing else."""
    # The count is among them because the sequence takes missing numbers for zeros.
    state = np.random.SeedSequence((zlib.crc32(purpose.encode()), len(numbers), *numbers)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


class Batches(DistributedSampler[Tensor]):
    """Index batches of one rank. A ``DistributedSampler``, so that Lightning sets its epoch and does not wrap it.

    Args:
        labels: label of every image, int64 (N,).
        batch_size: images in a batch on each rank.
        seed: with the epoch, decides every draw.
        rank, world_size: which part of each global batch, of ``batch_size * world_size`` images, this process yields.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(labels, num_replicas=world_size, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.labels = labels
        self.batch_size = batch_size
        self._num_seen: Callable[[], int] = int

    def skip(self, num_seen: Callable[[], int]) -> Self:
        """Leave out those that a run has seen of an epoch in whose middle it goes on; asked when the first is drawn."""
        self._num_seen = num_seen
        return self

    def __iter__(self) -> Iterator[Tensor]:
        yield from itertools.islice(self.draw(), self._num_seen(), None)

    def draw(self) -> Iterator[Tensor]:
        """Yield the batches of the epoch."""
        raise NotImplementedError

    def __len__(self) -> int:
        return max(1, len(self.labels) // (self.batch_size * self.num_replicas))


class RandomBatches(Batches):
    """Every image at most once an epoch, in random order; what does not fill a last global batch waits for another epoch.

    Raises:
        ValueError: when batches are drawn of fewer images than ranks.
    """

    def draw(self) -> Iterator[Tensor]:
        """Yield the batches of the epoch."""
        order = torch.randperm(len(self.labels), generator=generator_for("batches", self.seed, self.epoch))
        fits = len(self.labels) // self.num_replicas * self.num_replicas
        global_size = min(self.batch_size * self.num_replicas, fits)
        if not global_size:
            raise ValueError(
                f"trainer.devices: {len(order)} images cannot be shared out to {self.num_replicas} devices, use fewer"
            )
        shares = order[: len(self) * global_size].view(len(self), global_size // self.num_replicas, self.num_replicas)
        yield from shares[:, :, self.rank]


class ClassBatches(Batches):
    """P classes x K images of each, P being ``batch_size // samples_per_class``; as many batches as random ones would give.

    Within an epoch a class gives its images in random order, and all of them before any again, but for a remainder of fewer
    than K, so that no batch holds an image twice. The ranks share out the batch of one process that is as large as theirs
    together, where there are classes enough for it; else each draws its own classes.

    Args:
        samples_per_class: K, the images of each class in a batch.
        class_names: for messages.

    Raises:
        ValueError: if the images cannot fill a batch of P x K, naming what is missing.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        samples_per_class: int,
        class_names: list[str],
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(labels, batch_size, seed, rank, world_size)
        self.samples_per_class = samples_per_class
        self.classes_per_batch = batch_size // samples_per_class
        counts = torch.bincount(labels, minlength=len(class_names))
        if batch_size % samples_per_class or self.classes_per_batch < 2:
            raise ValueError(
                f"data.batch_size {batch_size} must be data.samples_per_class {samples_per_class} times two or more classes"
            )
        if self.classes_per_batch > len(class_names):
            raise ValueError(
                f"data.batch_size {batch_size} with data.samples_per_class {samples_per_class} needs "
                f"{self.classes_per_batch} classes a batch, but there are {len(class_names)}; a batch_size of at most "
                f"{len(class_names) * samples_per_class} can be filled"
            )
        if int(counts.min()) < samples_per_class:
            smallest = int(counts.argmin())
            raise ValueError(
                f"class {class_names[smallest]!r} has {int(counts[smallest])} training images, fewer than "
                f"data.samples_per_class {samples_per_class}; lower it, or leave the class out by data.classes"
            )

    def draw(self) -> Iterator[Tensor]:
        """Yield the batches of the epoch."""
        generator = generator_for("batches", self.seed, self.epoch)
        num_classes = int(self.labels.max()) + 1
        num_batches = len(self) * self.num_replicas
        shared = self.num_replicas if self.classes_per_batch * self.num_replicas <= num_classes else 1
        chunks = torch.arange(num_batches // shared).split(max(1, MAX_CHUNK_ELEMENTS // num_classes))
        shuffled = [torch.rand(len(chunk), num_classes, generator=generator).argsort(1) for chunk in chunks]
        classes = torch.cat([chunk[:, : self.classes_per_batch * shared] for chunk in shuffled]).flatten()
        batches = torch.empty(len(classes), self.samples_per_class, dtype=torch.int64)
        by_class = torch.argsort(self.labels, stable=True)
        images_of = by_class.split(torch.bincount(self.labels).tolist())
        turns_of = torch.argsort(classes, stable=True).split(torch.bincount(classes, minlength=num_classes).tolist())
        for images, turns in zip(images_of, turns_of, strict=True):
            batches[turns] = self._groups(images, len(turns), generator, num_others=self.num_replicas // shared - 1)
        yield from batches.view(num_batches, self.batch_size)[self.rank :: self.num_replicas]

    def _groups(self, images: Tensor, num_groups: int, generator: torch.Generator, num_others: int) -> Tensor:
        """Deal the images of one class (M,) into groups (num_groups, K), shuffling anew when fewer than K are left."""
        size = len(images) // self.samples_per_class * self.samples_per_class
        dealt = images[:0]
        while len(dealt) < num_groups * self.samples_per_class:
            order = images[torch.randperm(len(images), generator=generator)]
            # What other ranks may have in the same step comes last, so that a global batch holds no image twice either.
            recent = torch.isin(order, dealt[len(dealt) - num_others * self.samples_per_class :])
            dealt = torch.cat([dealt, torch.cat([order[~recent], order[recent]])[:size]])
        return dealt.view(-1, self.samples_per_class)[:num_groups]


def evaluation_order(num: int) -> Tensor:
    """Return the one order, random but fixed, in which so many images are evaluated, int64 (num,)."""
    return torch.randperm(num, generator=generator_for("evaluation order"))


class EvaluationBatches(Batches):
    """Every image exactly once over all ranks, in one fixed random order, so that each batch mixes the classes.

    A rank yields a contiguous part of the batches: what the ranks gather, one after the other, is what one process sees. Where
    there are fewer batches than ranks, they are smaller than ``batch_size``, so that each rank has one.

    Raises:
        ValueError: if there are fewer images than ranks.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if 0 < len(labels) < world_size:
            raise ValueError(f"trainer.devices: {len(labels)} images cannot be evaluated on {world_size} devices, use fewer")
        super().__init__(labels, max(1, min(batch_size, len(labels) // world_size)), seed, rank, world_size)

    def __len__(self) -> int:
        return len(self._part())

    def draw(self) -> Iterator[Tensor]:
        """Yield the batches of the epoch."""
        batches = evaluation_order(len(self.labels)).split(self.batch_size)
        yield from batches[self._part().start : self._part().stop]

    def _part(self) -> range:
        num = -(-len(self.labels) // self.batch_size)
        return range(num * self.rank // self.num_replicas, num * (self.rank + 1) // self.num_replicas)
