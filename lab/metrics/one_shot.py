"""Recognition from one example, or a few: tasks drawn from labels, and which queries find their class."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

MAX_CHUNK_ELEMENTS = 2**19  # of the queries held at once; 2 MiB in float32, for which caches have room
MAX_PAIR_ELEMENTS = 2**24  # likewise, where each is laid beside each example
PairDistance = Callable[[Tensor, Tensor], Tensor]
Search = Literal["euclidean", "cosine"]


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


def one_shot_hits(embeddings: Tensor, tasks: Tasks, distance: PairDistance | Search) -> Tensor:
    """Return whether each query is nearer to the examples of its own class than to those of any other, bool (T, N).

    A tie is an error, so an embedding that has collapsed to one point hits nothing.

    Args:
        embeddings: (M, D), every image once; tasks: positions among them.
        distance: its name, and then K examples are one, the mean of their embeddings (Snell et al., 2017); or, where a distance
            is learned and such a mean would mean nothing, a function of which the mean over the examples is taken: distances
            (P,) of embeddings (P, D), of the examples, to those (P, D) beside them, of the queries.
    """
    num_tasks, num_ways, num_shots = tasks.support.shape
    # The named distances are matrix products; of others, each query is laid beside each example.
    per_task, most = num_ways * num_shots * embeddings.shape[1], MAX_CHUNK_ELEMENTS
    if not isinstance(distance, str):
        per_task, most = per_task * num_ways, MAX_PAIR_ELEMENTS
    hits = []
    for part in torch.arange(num_tasks).split(max(1, most // per_task)):
        examples, queries = (_gathered(embeddings, places[part]) for places in tasks)  # (t, N, K, D), (t, N, D)
        if isinstance(distance, str):
            distances, margin = _products(examples.squeeze(2) if num_shots == 1 else examples.mean(2), queries, distance)
        else:
            distances, margin = _pair_by_pair(examples, queries, distance), torch.tensor(0.0, device=queries.device)
        own = distances.diagonal(dim1=1, dim2=2)
        own_at_most = own + margin
        own.fill_(torch.inf)  # what is left is of other classes
        nearest = distances.transpose(0, 1).contiguous().amin(0)  # in a quarter of the time of amin(1)
        hits.append(own_at_most < nearest)
    return torch.cat(hits)


def _gathered(embeddings: Tensor, places: Tensor) -> Tensor:
    """Return embeddings[places], in a quarter of the time."""
    return embeddings.index_select(0, places.flatten().to(embeddings.device)).view(*places.shape, embeddings.shape[1])


def _products(examples: Tensor, queries: Tensor, distance: Search) -> tuple[Tensor, Tensor]:
    """Return squared distances (t, N, N) of examples (t, N, D) to queries (t, N, D), both of which may be overwritten.

    And, of each query to the example of its class (t, N), what rounding can hide.
    """
    if distance == "cosine":  # which ranks as the Euclidean distance does between unit vectors
        examples, queries = (torch.nn.functional.normalize(side, dim=2) for side in (examples, queries))
    center = examples[0].mean(0)  # distances do not depend on it, but their rounding errors do: it lies among them
    examples, queries = examples.sub_(center), queries.sub_(center)
    of_examples, of_queries = (torch.linalg.vector_norm(side, dim=2).square_() for side in (examples, queries))
    norms = of_examples.unsqueeze(2) + of_queries.unsqueeze(1)
    distances = norms.baddbmm_(examples, queries.transpose(1, 2), alpha=-2.0)
    limits = torch.finfo(norms.dtype)
    return distances, (of_queries + of_examples) * (8.0 * limits.eps) + limits.tiny


def _pair_by_pair(examples: Tensor, queries: Tensor, distance: PairDistance) -> Tensor:
    """Return distances (t, N, N) of examples (t, N, K, D), their means over K, to queries (t, N, D)."""
    pairs = torch.broadcast_tensors(examples.unsqueeze(2), queries.unsqueeze(1).unsqueeze(3))  # (t, N, N, K, D)
    first, second = (side.reshape(-1, queries.shape[2]) for side in pairs)
    return distance(first, second).view(pairs[0].shape[:-1]).mean(3)
