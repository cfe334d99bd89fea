"""How the cost of what a step is made of, beside the network, grows with images, classes and the size of a batch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from lab.data.arrays import ImageArrays
from lab.data.batches import Batches, ClassBatches, RandomBatches
from lab.data.pair_batches import PairBatches
from lab.losses.distances import pairwise_distances
from lab.losses.tuples import balanced_pairs, batch_hard_triplets
from lab.metrics.retrieval import search_values

NUM_IMAGES, NUM_CLASSES, BATCH_SIZE = 100_000, 100, 128  # where another one is varied
AXES = {
    "images": (1_000, 10_000, 100_000, 1_000_000),
    "classes": (10, 100, 1_000, 10_000),
    "batch size": (32, 128, 512, 2_048),
}
NUMBER_GROWS = {"images": 1, "classes": 0, "batch size": -1}  # by which power that of steps does
SAMPLES_PER_CLASS, SIZE = 4, 64
REPEATS, SHORTEST = 3, 0.05  # calls, and seconds of calls, the fastest of which counts
NUM_PASSES = 2  # over all sizes, of which a busy moment of the machine disturbs one
MAX_SEARCHED = 20_000  # images that the search is timed on, which each other one is compared with


@dataclass(frozen=True)
class Growth:
    """What a part costs, by the size that is varied.

    Args:
        part: what is timed; unit: a step, or an image.
        microseconds: by size; a size that cannot be is not there.
    """

    part: str
    unit: str
    microseconds: dict[int, float] = field(default_factory=dict)


def grow(say: Callable[[str], None]) -> dict[str, list[Growth]]:
    """Time each part by each axis, twice, and keep the faster of both."""
    found: dict[str, dict[str, Growth]] = {axis: {} for axis in AXES}
    for number in range(1, NUM_PASSES + 1):
        for axis, size in ((axis, size) for axis, sizes in AXES.items() for size in sizes):
            chosen = {"images": NUM_IMAGES, "classes": NUM_CLASSES, "batch size": BATCH_SIZE, axis: size}
            for part, unit, microseconds in _parts(chosen["images"], chosen["classes"], chosen["batch size"]):
                so_far = found[axis].setdefault(part, Growth(part, unit)).microseconds
                so_far[size] = min(microseconds, so_far.get(size, math.inf))
            say(f"scaling, {number} of {NUM_PASSES}, {axis}: {size:,}")
    return {axis: list(parts.values()) for axis, parts in found.items()}


def _parts(num_images: int, num_classes: int, batch_size: int) -> Iterator[tuple[str, str, float]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_images) % num_classes
    names = [str(label) for label in range(num_classes)]
    samplers: dict[str, Callable[[], Batches]] = {"random batches": lambda: RandomBatches(labels, batch_size)}
    samplers["batches of pairs"] = lambda: PairBatches(labels, batch_size)
    if num_images >= SAMPLES_PER_CLASS * num_classes and batch_size <= SAMPLES_PER_CLASS * num_classes:
        samplers["P x K batches"] = lambda: ClassBatches(labels, batch_size, SAMPLES_PER_CLASS, names)
    for name, make in samplers.items():
        yield f"drawing {name}", "step", _a_step(make)
    images = torch.zeros(num_images, 1, 28, 28, dtype=torch.uint8)
    arrays = ImageArrays(images, labels, names)
    rows = torch.randperm(num_images, generator=generator)[:batch_size]
    yield "gathering a batch", "step", _fastest(lambda: arrays[rows])
    of_batch = labels[rows]
    embeddings = torch.randn(len(rows), SIZE, generator=generator)
    yield "pairs of a batch", "step", _fastest(lambda: balanced_pairs(of_batch, batch_size // 2, generator))
    distances = pairwise_distances(embeddings, "euclidean")
    yield "batch-hard triplets", "step", _fastest(lambda: batch_hard_triplets(distances, of_batch))
    if num_images <= MAX_SEARCHED:
        points = torch.randn(num_images, SIZE, generator=generator)
        yield "search scores", "image", _fastest(lambda: search_values(points, labels)) / num_images


def _a_step(make: Callable[[], Batches]) -> float:
    """Return microseconds a step of drawing all batches of an epoch."""
    batches = make()
    num = len(batches)

    def draw() -> None:
        for _ in batches:
            pass

    return _fastest(draw) / num


def _fastest(call: Callable[[], object]) -> float:
    """Return the microseconds of the fastest of some calls, which the machine has disturbed least."""
    taken, total = list[float](), 0.0
    while len(taken) < REPEATS or total < SHORTEST:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
        total += taken[-1]
    return 1e6 * min(taken)


def exponent(axis: str, growth: Growth) -> float | None:
    """Return by which power of the size the cost of an epoch grows at the largest sizes: 1 is linear; None for a single size.

    That of a step, or of an image, is what is timed: with more images there are more of them, with larger batches fewer.
    """
    if len(growth.microseconds) < 2:
        return None
    (small, first), (large, last) = sorted(growth.microseconds.items())[-2:]
    return NUMBER_GROWS[axis] + math.log(last / first) / math.log(large / small)
