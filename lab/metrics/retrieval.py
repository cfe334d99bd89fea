"""Retrieval scores of an embedding, exact, in memory bounded by chunks.

Everywhere a tie is an error: an image of another class that is as near as the nearest of the same class (to within the
rounding of the distances) comes first. An embedding that has collapsed to one point therefore scores 0, not chance.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_CHUNK_ELEMENTS = 2**24  # distances held at once; 64 MiB in float32


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
    order = torch.argsort(labels, stable=True)  # class by class, so that those of one class stand side by side
    gallery = _Sorted(embeddings[order], labels[order])
    names = [*(f"recall@{depth}" for depth in depths), "r_precision", "map@r"]
    found = np.empty((len(labels), len(names)))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for rows in torch.arange(len(labels)).split(max(1, MAX_CHUNK_ELEMENTS // max(1, len(labels)))):
            distances = gallery.distances_from(rows.to(labels.device)).cpu().numpy()
            parts = np.array_split(np.arange(len(rows)), torch.get_num_threads())
            for part, scores in zip(
                parts, pool.map(partial(_scores, gallery, distances, int(rows[0]), depths), parts), strict=True
            ):
                found[int(rows[0]) + part] = scores
    values = torch.from_numpy(found).to(device=labels.device, dtype=torch.float32)[torch.argsort(order)]
    return dict(zip(names, values.unbind(1), strict=True))


class _Sorted:
    """Embeddings (N, D) class by class, between which squared distances are taken.

    What rounding can hide counts as a tie, and same-class images lose ties.
    """

    def __init__(self, embeddings: Tensor, labels: Tensor) -> None:
        centered = embeddings - embeddings.mean(0)  # distances do not depend on it, but their rounding errors do
        self.labels = labels
        self.norms = centered.square().sum(1)
        one, norms = torch.ones_like(centered[:, :1]), self.norms.unsqueeze(1)
        # One product of both gives |x|^2 + |y|^2 - 2 x . y.
        self.left, self.right = torch.cat([centered * -2.0, norms, one], 1), torch.cat([centered, one, norms], 1).T.contiguous()
        self._held = one.new_empty(0)  # memory for a chunk, as to get it anew each time takes as long as to fill it
        counts = torch.unique_consecutive(labels, return_counts=True)[1]
        ends = counts.cumsum(0)
        self.starts, self.ends = ((ends - part).repeat_interleave(counts).tolist() for part in (counts, 0))

    def distances_from(self, rows: Tensor) -> Tensor:
        """Return squared distances (q, N) from images at consecutive rows (q,) to all, infinite to themselves.

        They are overwritten by the next call.
        """
        if len(rows) > len(self._held):
            self._held = self.left.new_empty(len(rows), len(self.labels))
        distances = torch.mm(self.left[rows], self.right, out=self._held[: len(rows)])
        # None of these images has its class outside these columns.
        near = slice(self.starts[int(rows[0])], self.ends[int(rows[-1])])
        same = self.labels[rows].unsqueeze(1) == self.labels[near]
        margin = (self.norms[rows].unsqueeze(1) + self.norms[near]).mul_(8.0 * torch.finfo(distances.dtype).eps)
        distances[:, near] += margin.add_(torch.finfo(distances.dtype).tiny).mul_(same)
        distances[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        return distances


def _scores(
    gallery: _Sorted, distances: npt.NDArray[Any], first: int, depths: tuple[int, ...], rows: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return the scores (M, S) of some rows (M,) of a chunk of distances (q, N), which begins at image ``first``."""
    scores = np.full((len(rows), len(depths) + 2), np.nan)
    for row, scored in zip(rows.tolist(), scores, strict=True):
        own = slice(gallery.starts[first + row], gallery.ends[first + row])
        num_relevant = own.stop - own.start - 1
        if num_relevant:
            same, others = distances[row, own].copy(), distances[row]
            if np.count_nonzero(np.isfinite(same)) < num_relevant:  # nothing is found by an embedding that is no number
                scored[:] = 0.0
                continue
            others[own] = np.inf
            late = np.sort(same[same >= np.fmin.reduce(others)])[:-1]  # without the image itself
            num_first = num_relevant - len(late)  # are nearer than any of another class
            nearer = others[others <= late[-1]] if len(late) else others[:0]
            ranks = _first_ranks(late, nearer, num_first, num_relevant)
            precision = num_first + (np.arange(num_first + 1, num_first + 1 + len(ranks)) / ranks).sum()
            best = 1 if num_first else 1 + np.count_nonzero(nearer <= late[0])
            found = num_first + len(ranks)
            scored[:] = [*(best <= depth for depth in depths), found / num_relevant, precision / num_relevant]
    return scores


def _first_ranks(same: npt.NDArray[Any], nearer: npt.NDArray[Any], num_first: int, num: int) -> npt.NDArray[np.int64]:
    """Return the ranks among all, from 1, of those of ``same`` that are among the first ``num``.

    Nothing is sorted but the few that count: to sort all distances takes ten times as long as to compute them.

    Args:
        same: distances to the images of the same class, in order, but for the ``num_first`` that come before all others.
        nearer: distances to the others up to the last of these, in any order.
        num_first: how many of the class are not in ``same``; num: how many of it there are.
    """
    # same[:low] have such a rank, and same[high:] have not.
    low, high = 0, len(same)
    while len(nearer) > num and low < high:
        middle = (low + high + 1) // 2
        before = nearer[nearer <= same[middle - 1]]
        if num_first + middle + len(before) <= num:
            low = middle
        else:
            high, nearer = middle - 1, before
    if len(nearer) > num:
        nearer = nearer[nearer <= same[high - 1]] if high else nearer[:0]
    ranks = np.arange(num_first + 1, num_first + high + 1) + np.sort(nearer).searchsorted(same[:high], side="right")
    return ranks[: ranks.searchsorted(num, side="right")]


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
