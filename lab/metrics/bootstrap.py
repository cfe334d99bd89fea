"""How far a score would vary with other test images: 95 % intervals by the bootstrap (Efron, 1979)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lab.metrics.one_shot import Tasks

NUM_REPLICATES = 1000
MAX_CHUNK_ELEMENTS = 2**22
Scores = dict[str, Tensor]


def weights_of(num: int, generator: torch.Generator, per_chunk: int) -> Iterator[Tensor]:
    """Yield how often each of ``num`` things is drawn, when as many are drawn with replacement: float64 (r, num), in chunks."""
    for start in range(0, NUM_REPLICATES, per_chunk):
        rows = min(per_chunk, NUM_REPLICATES - start)
        drawn = torch.randint(num, (rows, num), generator=generator)
        yield torch.zeros(rows, num, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(rows, num, dtype=torch.float64))


def intervals(num: int, score: Callable[[Tensor], Scores], elements: int) -> dict[str, tuple[float, float]]:
    """Return for each score the range between its 2.5 % and its 97.5 % quantile over replicates of ``num`` things.

    Args:
        num: how many things were drawn from the population: images, or tasks.
        score: returns scores (r,) by name, of weights (r, num) of the things.
        elements: numbers that ``score`` holds at once for each replicate.
    """
    generator = torch.Generator().manual_seed(0)
    chunks = [score(weights) for weights in weights_of(num, generator, max(1, MAX_CHUNK_ELEMENTS // max(1, elements)))]
    found = {}
    for name in chunks[0]:
        values = torch.cat([chunk[name].cpu().double() for chunk in chunks])
        values = values[values.isfinite()]
        if len(values):
            low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
            found[name] = (low, high)
    return found


def mean_intervals(values: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Return the intervals of the means of values (Q,) by name, of the same Q things; a NaN is left out of a mean."""
    table = torch.stack([value.cpu().double() for value in values.values()], dim=1)  # (Q, scores)
    counted, table = table.isfinite().double(), table.nan_to_num(0.0)

    def means(weights: Tensor) -> Scores:
        averages = (weights @ table) / (weights @ counted)
        return dict(zip(values, averages.T, strict=True))

    return intervals(len(table), means, len(table))


def task_intervals(name: str, hits: Tensor, tasks: Tasks, num_images: int) -> dict[str, tuple[float, float]]:
    """Return the interval of the share of hits (T, N) in one-shot tasks that were drawn from so many images.

    Tasks share images, so it is these that are drawn anew: a query counts as often as the product of what it and, on average,
    the examples of its class do. Where images are in few tasks, this makes the interval wider than it need be.
    """
    told, queries, support = hits.cpu().double(), tasks.queries.cpu(), tasks.support.cpu()

    def share(weights: Tensor) -> Scores:
        counted = weights[:, queries] * weights[:, support].mean(3)
        return {name: (counted * told).sum((1, 2)) / counted.sum((1, 2))}

    return intervals(num_images, share, num_images + 3 * queries.numel() + support.numel())
