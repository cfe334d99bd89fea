"""Retrieval scores of an embedding, exact, in memory bounded by chunks.

Everywhere a tie is an error: an image of another class that is as near as the nearest of the same class (to within the
rounding of the distances) comes first. An embedding that has collapsed to one point therefore scores 0, not chance.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_CHUNK_ELEMENTS = 2**22  # distances held at once; 16 MiB in float32, for which caches have room


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
    chunks = []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for rows in torch.arange(len(labels), device=labels.device).split(max(1, MAX_CHUNK_ELEMENTS // max(1, len(labels)))):
            num_relevant = gallery.num_others[rows]
            depth = min(max(*depths, 1, int(num_relevant.max())), len(labels))
            found = _of_the_same_class(_smallest(gallery.distances_from(rows), depth, pool))
            rank = torch.arange(1, depth + 1, device=labels.device)
            relevant = found & (rank <= num_relevant.unsqueeze(1))
            values = {f"recall@{k}": found[:, :k].any(1).float() for k in depths}
            values["r_precision"] = relevant.sum(1) / num_relevant
            values["map@r"] = (relevant.cumsum(1, dtype=torch.float32) / rank * relevant).sum(1) / num_relevant
            chunks.append({name: value.where(num_relevant > 0, torch.nan) for name, value in values.items()})
    place = torch.argsort(order)
    return {name: torch.cat([chunk[name] for chunk in chunks])[place] for name in chunks[0]}


class _Sorted:
    """Embeddings (N, D) class by class, between which squared distances are taken.

    The last bit of a distance says whether it is to an image of the same class, so that to sort distances alone is enough. What
    rounding can hide counts as a tie, and same-class images lose ties.
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
        self.num_others = (counts - 1).repeat_interleave(counts)
        self.ends = counts.cumsum(0).repeat_interleave(counts)
        self.starts = self.ends - self.num_others - 1

    def distances_from(self, rows: Tensor) -> Tensor:
        """Return squared distances (q, N) from images at consecutive rows (q,) to all, infinite to themselves.

        They are overwritten by the next call.
        """
        if len(rows) > len(self._held):
            self._held = self.left.new_empty(len(rows), len(self.labels))
        distances = torch.mm(self.left[rows], self.right, out=self._held[: len(rows)]).clamp_(min=0.0)
        # None of these images has its class outside these columns.
        near = slice(int(self.starts[rows[0]]), int(self.ends[rows[-1]]))
        same = self.labels[rows].unsqueeze(1) == self.labels[near]
        margin = (self.norms[rows].unsqueeze(1) + self.norms[near]).mul_(8.0 * torch.finfo(distances.dtype).eps)
        distances[:, near] += margin.add_(torch.finfo(distances.dtype).tiny).mul_(same)
        bits = _bits(distances).bitwise_and_(-2)
        bits[:, near] |= same.to(bits.dtype)
        distances[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        return distances


def _bits(distances: Tensor) -> Tensor:
    return distances.view(torch.int64 if distances.dtype == torch.float64 else torch.int32)


def _of_the_same_class(distances: Tensor) -> Tensor:
    return _bits(distances).bitwise_and(1).bool()


def _smallest(distances: Tensor, num: int, pool: ThreadPoolExecutor) -> Tensor:
    """Return the smallest distances of each row (q, num), in order; those that are given are overwritten."""
    if distances.device.type != "cpu":
        return distances.topk(num, dim=1, largest=False).values

    def sort(part: npt.NDArray[Any]) -> None:  # several times as fast as PyTorch's, which finds places too
        if num < part.shape[1]:
            part.partition(num - 1, axis=1)
        part[:, :num].sort(axis=1)

    list(pool.map(sort, np.array_split(distances.numpy(), torch.get_num_threads())))
    return distances[:, :num]


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
