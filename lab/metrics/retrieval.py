"""Retrieval scores of an embedding, exact, in memory bounded by chunks.

Everywhere a tie is an error: an image of another class that is as near as the nearest of the same class (to within the
rounding of the distances) comes first. An embedding that has collapsed to one point therefore scores 0, not chance.
"""

from collections.abc import Iterator

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
    chunks = []
    largest = min(max(*depths, 1, int(labels.unique(return_counts=True)[1].max())), len(labels))
    for distances, same, rows in _distance_chunks(embeddings, labels, embeddings, labels, 5 * largest):
        _exclude_self(distances, same, rows)
        num_relevant = same.sum(1)
        depth = min(max(*depths, 1, int(num_relevant.max())), distances.shape[1])
        nearest = distances.topk(depth, dim=1, largest=False).indices
        found = same.gather(1, nearest)
        rank = torch.arange(1, depth + 1, device=distances.device)
        relevant = found & (rank <= num_relevant.unsqueeze(1))
        values = {f"recall@{k}": found[:, :k].any(1).float() for k in depths}
        values["r_precision"] = relevant.sum(1) / num_relevant
        values["map@r"] = (relevant.cumsum(1) / rank * relevant).sum(1) / num_relevant
        chunks.append({name: value.where(num_relevant > 0, torch.nan) for name, value in values.items()})
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _distance_chunks(
    queries: Tensor, query_labels: Tensor, gallery: Tensor, gallery_labels: Tensor, beside: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, for some queries at a time, squared distances (q, G), same class or not (q, G), and their rows (q,).

    The distances come from a matrix product. What its rounding can hide counts as a tie, and same-class images lose ties.
    ``beside`` says how many numbers the caller will hold of each query, in addition to its distances.
    """
    center = gallery.mean(0)  # distances do not depend on it, but their rounding errors do
    queries, gallery = queries - center, gallery - center
    query_norms, gallery_norms = queries.square().sum(1), gallery.square().sum(1)
    rounding = 8.0 * torch.finfo(gallery.dtype).eps
    num_rows = max(1, MAX_CHUNK_ELEMENTS // max(1, len(gallery) + beside))
    for rows in torch.arange(len(queries), device=queries.device).split(num_rows):
        norms = query_norms[rows].unsqueeze(1) + gallery_norms
        distances = torch.addmm(norms, queries[rows], gallery.T, alpha=-2.0)
        same = query_labels[rows].unsqueeze(1) == gallery_labels
        yield distances.add_(norms.mul_(rounding).add_(torch.finfo(norms.dtype).tiny).mul_(same)), same, rows


def _exclude_self(distances: Tensor, same: Tensor, rows: Tensor) -> None:
    """Take each query itself out of its own gallery, in place."""
    row = torch.arange(len(rows), device=rows.device)
    distances[row, rows] = torch.inf
    same[row, rows] = False
