"""Recognition from one example, or a few: tasks drawn from labels, and which queries find their class."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MAX_CHUNK_ELEMENTS = 2**24
PairDistance = Callable[[Tensor, Tensor], Tensor]


class Tasks(NamedTuple):
    """T tasks of N classes: positions of their examples (T, N, K) and of one query of each class (T, N)."""

    support: Tensor
    queries: Tensor


def draw_tasks(
    labels: Tensor, num_ways: int, num_shots: int, num_tasks: int, generator: torch.Generator, groups: Tensor | None = None
) -> Tasks | None:
    """Draw tasks of classes that have enough images, each with one query a class.

    Args:
        labels: int64 (N,).
        num_ways: classes of a task; all there are, where there are fewer.
        num_shots: examples a class.
        num_tasks: how many.
        generator: source of the draws.
        groups: group of each class, such as its alphabet, int64 (C,): the classes of a task are then of one group, which is
            drawn for each task anew; None where classes are drawn from all.

    Returns:
        The tasks, or None where no group has two classes of ``num_shots + 1`` images.
    """
    by_class = torch.argsort(labels, stable=True)
    classes, counts = torch.unique_consecutive(labels[by_class], return_counts=True)
    starts = counts.cumsum(0) - counts
    enough = counts > num_shots
    group_of = torch.zeros_like(classes) if groups is None else groups.to(classes.device)[classes]
    members = [torch.nonzero(enough & (group_of == group)).squeeze(1) for group in group_of.unique()]
    members = [group for group in members if len(group) >= 2]
    if not members:
        return None
    # All tasks have as many classes, so groups with fewer than the others are left out where that is asked for.
    num_ways = min(num_ways, max(len(group) for group in members))
    members = [group for group in members if len(group) >= num_ways]
    support, queries = [], []
    for _ in range(num_tasks):
        group = members[int(torch.randint(len(members), (), generator=generator))]
        chosen = group[torch.randperm(len(group), generator=generator)[:num_ways]]
        draws = torch.stack([torch.randperm(int(counts[c]), generator=generator)[: num_shots + 1] for c in chosen])
        images = by_class[starts[chosen].unsqueeze(1) + draws.to(by_class.device)]
        support.append(images[:, :-1])
        queries.append(images[:, -1])
    return Tasks(torch.stack(support), torch.stack(queries))


def one_shot_hits(embeddings: Tensor, tasks: Tasks, distance: PairDistance, averaging: bool) -> Tensor:
    """Return whether each query is nearer to the examples of its own class than to those of any other, bool (T, N).

    A tie is an error, so an embedding that has collapsed to one point hits nothing.

    Args:
        embeddings: (M, D), every image once; tasks: positions among them.
        distance: distances (P,) of embeddings (P, D), of the examples, to those (P, D) beside them, of the queries.
        averaging: how K examples are one: the mean of their embeddings (Snell et al., 2017), or where a distance is learned
            and such a mean would mean nothing, False for the mean of the distances.
    """
    num_tasks, num_ways, num_shots = tasks.support.shape
    per_task = num_ways * num_ways * (1 if averaging else num_shots) * embeddings.shape[1]
    hits = []
    for part in torch.arange(num_tasks).split(max(1, MAX_CHUNK_ELEMENTS // per_task)):
        examples, queries = embeddings[tasks.support[part]], embeddings[tasks.queries[part]]  # (t, N, K, D), (t, N, D)
        examples = examples.mean(2, keepdim=True) if averaging else examples
        # From each query (t, N, 1, 1, D) to each example of each class (t, 1, N, K, D).
        pairs = torch.broadcast_tensors(examples.unsqueeze(1), queries.unsqueeze(2).unsqueeze(2))
        first, second = (side.reshape(-1, embeddings.shape[1]) for side in pairs)
        distances = distance(first, second).view(pairs[0].shape[:-1]).mean(3)  # (t, N, N)
        own = distances.diagonal(dim1=1, dim2=2)
        others = distances.masked_fill(torch.eye(num_ways, dtype=torch.bool, device=own.device), torch.inf)
        hits.append(own < others.amin(2))
    return torch.cat(hits)
