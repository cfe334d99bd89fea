"""Retrieval scores of an embedding, exact, in memory bounded by chunks.

Everywhere a tie is an error: an image of another class that is as near as the nearest of the same class (to within the
rounding of the distances) comes first. An embedding that has collapsed to one point therefore scores 0, not chance.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lab.metrics.gallery import Gallery

MAX_CHUNK_ELEMENTS = 2**24  # distances held at once, to images of the same class and to others; 64 MiB each in float32
Distances = npt.NDArray[Any]


def nearest_neighbor_hits(queries: Tensor, query_labels: Tensor, gallery: Tensor, gallery_labels: Tensor) -> Tensor:
    """Return whether the gallery embedding nearest to each query has its class, bool (Q,).

    Args:
        queries: (Q, D); query_labels: (Q,); gallery: (G, D), G >= 1; gallery_labels: (G,). Euclidean distance.
    """
    hits = [
        same.gather(1, distances.argmin(1, keepdim=True)).squeeze(1)
        for distances, same, _ in _distance_chunks(queries, query_labels, gallery, gallery_labels)
    ]
    return torch.cat(hits)


def search_values(embeddings: Tensor, labels: Tensor, depths: tuple[int, ...] = (1, 5, 10)) -> dict[str, Tensor]:
    """Look each image up among all others, and return by name what it scores, (N,); a score is the mean over images.

    ``recall@k`` is 1 where one of the k nearest has its class, else 0. With R the number of other images of its class,
    ``r_precision`` is the share of these among the R nearest, and ``map@r`` the mean average precision at R (Musgrave, Belongie
    and Lim, "A Metric Learning Reality Check", 2020): (1/R) * sum over i = 1..R of precision at i where the i-th nearest has
    its class, else 0.

    An image that is alone in its class asks for nothing that could be found: NaN.

    Args:
        embeddings: (N, D); labels: (N,). Euclidean distance.
        depths: the k of ``recall@k``.
    """
    embeddings = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    order = torch.argsort(labels, stable=True)
    gallery = Gallery(embeddings[order], labels[order], MAX_CHUNK_ELEMENTS)
    names = [*(f"recall@{depth}" for depth in depths), "r_precision", "map@r"]
    found = np.full((len(labels), len(names)), np.nan)
    first, num = 0, gallery.num_queries
    while first < len(labels):
        queries = range(first, min(first + num, len(labels)))
        scores = _scores(gallery, queries, depths)
        if scores is None:  # too many are near to so many
            num = max(1, num // 2)
        else:
            found[first : queries.stop], first = scores, queries.stop
    values = torch.from_numpy(found).to(device=labels.device, dtype=torch.float32)[torch.argsort(order)]
    return dict(zip(names, values.unbind(1), strict=True))


def _scores(gallery: Gallery, queries: range, depths: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
    """Return the scores (q, S) of images in a row; None where too many others are near to be held at once."""
    of_classes = list(gallery.same(queries))
    last = torch.cat([distances.amax(1) for distances in of_classes])
    limits = torch.where(last.isfinite(), gallery.limits(queries, last, max(depths, default=0)), -torch.inf)
    others = _within(limits, gallery.others(queries), max(MAX_CHUNK_ELEMENTS, gallery.size))
    if others is None:
        return None
    scores = np.full((len(queries), len(depths) + 2), np.nan)
    rows = (row for distances in of_classes for row in distances.cpu().numpy())
    for query, same, last_same, limit, parts, scored in zip(
        queries, rows, last.tolist(), limits.tolist(), others, scores, strict=True
    ):
        num_relevant = len(same) - 1
        if not num_relevant:
            continue
        if not math.isfinite(last_same):
            scored[:] = 0.0  # nothing is found by an embedding that is no number
            continue
        nearer = np.concatenate(parts) if parts else same[:0]
        if limit < last_same:
            within = same[same <= limit]
            if len(within) - 1 + len(nearer) >= max((num_relevant, *depths)):
                same = within  # what is left out has no rank that counts
            else:
                nearer = gallery.others_of(query).cpu().numpy()
                nearer = nearer[nearer <= last_same]
        scored[:] = _score(same, nearer, num_relevant, depths)
    return scores


def _within(limits: Tensor, tiles: Iterable[Tensor], most: int) -> list[list[Distances]] | None:
    """Return those of distances (q, n), tile after tile, that are at most their row's limit (q,), by row, in parts.

    None where there are more than ``most``.
    """
    found: list[list[Distances]] = [[] for _ in range(len(limits))]
    highest, num_found = limits.cpu().numpy(), 0
    for tile in tiles:
        rows = torch.nonzero(~(tile.amin(1) > limits)).squeeze(1)  # where some are, or some are no numbers
        if not len(rows):
            continue
        distances = (tile if len(rows) == len(tile) else tile[rows]).cpu().numpy()
        places = np.flatnonzero(distances <= highest[rows.cpu().numpy()][:, None])
        values = distances.ravel()[places]
        bounds = places.searchsorted(np.arange(len(rows) + 1) * distances.shape[1]).tolist()
        for row, start, end in zip(rows.tolist(), bounds, bounds[1:], strict=False):
            if start < end:
                found[row].append(values[start:end])
        num_found += len(values)
        if num_found > most:
            return None
    return found


def _score(same: Distances, nearer: Distances, num_relevant: int, depths: tuple[int, ...]) -> list[float]:
    """Return the scores of an image.

    Args:
        same: distances to the images of its class, to itself minus infinity, but those too far to count.
        nearer: likewise to the others.
        num_relevant: how many others there are of its class.
    """
    if not len(nearer):
        return [1.0] * (len(depths) + 2)
    late = np.sort(same[same >= nearer.min()])  # all sooner ones come before all others
    num_first = len(same) - 1 - len(late)
    places = np.arange(num_first + 1, num_first + 1 + len(late))
    ranks = places + np.sort(nearer).searchsorted(late, side="right")
    best = 1 if num_first else ranks[0] if len(ranks) else math.inf
    num_found = int(ranks.searchsorted(num_relevant, side="right"))
    precision = num_first + (places[:num_found] / ranks[:num_found]).sum()
    return [*(best <= depth for depth in depths), (num_first + num_found) / num_relevant, precision / num_relevant]


def _distance_chunks(
    queries: Tensor, query_labels: Tensor, gallery: Tensor, gallery_labels: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, for some queries at a time, squared distances (q, G), same class or not (q, G), and their rows (q,).

    The distances come from a matrix product. What its rounding can hide counts as a tie, and same-class images lose ties.
    """
    center = gallery.mean(0)  # distances do not depend on it, but their rounding errors do
    queries, gallery = queries - center, gallery - center
    query_norms, gallery_norms = queries.square().sum(1), gallery.square().sum(1)
    rounding = 8.0 * torch.finfo(gallery.dtype).eps
    num_rows = max(1, MAX_CHUNK_ELEMENTS // max(1, len(gallery)))
    for rows in torch.arange(len(queries), device=queries.device).split(num_rows):
        norms = query_norms[rows].unsqueeze(1) + gallery_norms
        distances = torch.addmm(norms, queries[rows], gallery.T, alpha=-2.0)
        same = query_labels[rows].unsqueeze(1) == gallery_labels
        yield distances.add_(norms.mul_(rounding).add_(torch.finfo(norms.dtype).tiny).mul_(same)), same, rows
