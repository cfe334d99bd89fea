"""Distances between all images, a tile at a time, and which of them can matter to the search for images of a class."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

MAX_TILE_ELEMENTS = 2**20  # distances made at once; 4 MiB in float32, for which caches have room
MAX_QUERIES = 2048  # images looked up at once
SAMPLE_SIZE = 500  # of the images by which it is guessed how far those lie that can matter


class Gallery:
    """Embeddings (N, D) class by class, between which squared distances are taken.

    What rounding can hide counts as a tie, and same-class images lose ties.

    Args:
        embeddings: (N, D), those of one class side by side; labels: (N,), theirs.
        max_elements: distances held at once, of images of one class.
    """

    def __init__(self, embeddings: Tensor, labels: Tensor, max_elements: int) -> None:
        centered = embeddings - embeddings.mean(0)  # distances do not depend on it, but their rounding errors do
        norms, numbers = centered.square().sum(1, keepdim=True), torch.finfo(centered.dtype)
        norms = torch.where(norms < numbers.max / 8, norms, torch.nan)  # beyond, distances would overflow
        one = torch.ones_like(norms)
        # One product of both gives |x|^2 + |y|^2 - 2 x . y.
        self.left, self.right = torch.cat([centered * -2.0, norms, one], 1), torch.cat([centered, one, norms], 1)
        self.margins = norms * (8.0 * numbers.eps)  # what rounding can hide is the sum of both sides'
        self.smallest = numbers.tiny
        counts = torch.unique_consecutive(labels, return_counts=True)[1]
        ends = counts.cumsum(0)
        self.starts, self.ends = ((ends - part).repeat_interleave(counts).tolist() for part in (counts, 0))
        self.size = len(labels)
        self.num_queries = max(1, min(self.size, MAX_QUERIES, max_elements // max(1, *counts.tolist(), 1)))
        self._tiles = [part.T.contiguous() for part in self.right.split(max(1, MAX_TILE_ELEMENTS // self.num_queries))]
        self._held = self.left.new_empty(0)  # memory for a tile, as to get it anew each time takes as long as to fill it
        num = min(self.size, SAMPLE_SIZE)
        self._sample = self.right[torch.arange(num, device=labels.device) * self.size // max(1, num)].T

    def classes(self, queries: range) -> Iterator[tuple[slice, slice]]:
        """Yield class by class, a tile of pairs at most, images (q,) of ``queries`` and all of their class (n,)."""
        first = queries.start
        while first < queries.stop:
            own = slice(self.starts[first], self.ends[first])
            end = min(own.stop, queries.stop, first + max(1, MAX_TILE_ELEMENTS // (own.stop - own.start)))
            yield slice(first, end), own
            first = end

    def same(self, queries: range) -> Iterator[Tensor]:
        """Yield distances (q, n) of queries, one after another, to all of their class, to themselves minus infinity."""
        for part, own in self.classes(queries):
            distances = self.left[part] @ self.right[own].T
            distances.add_(self.margins[part]).add_(self.margins[own].T + self.smallest)
            distances.diagonal(part.start - own.start).fill_(-torch.inf)
            yield distances

    def others(self, queries: range) -> Iterator[Tensor]:
        """Yield distances (q, n) of all queries to some images at a time, infinite to those of their own class.

        They are overwritten by those that come next. Where all images are of the class of all queries nothing is yielded.
        """
        left, end = self.left[queries.start : queries.stop], 0
        for tile in self._tiles:
            first, end = end, end + tile.shape[1]
            if self.starts[queries[-1]] <= first and end <= self.ends[queries[0]]:
                continue
            if left.shape[0] * tile.shape[1] > len(self._held):
                self._held = left.new_empty(left.shape[0] * tile.shape[1])
            distances = torch.mm(left, tile, out=self._held[: left.shape[0] * tile.shape[1]].view(left.shape[0], -1))
            # No query has its class in this tile outside these rows.
            rows = range(max(queries.start, self.starts[first]), min(queries.stop, self.ends[end - 1]))
            for part, own in self.classes(rows):
                columns = slice(max(own.start, first) - first, min(own.stop, end) - first)
                distances[part.start - queries.start : part.stop - queries.start, columns] = torch.inf
            yield distances

    def others_of(self, query: int) -> Tensor:
        """Return distances (N,) of one query to all images, infinite to those of its own class."""
        distances = self.right @ self.left[query]
        distances[self.starts[query] : self.ends[query]] = torch.inf
        return distances

    def limits(self, queries: range, last: Tensor, least: int) -> Tensor:
        """Guess how far from queries those lie that matter: as many as there are of the class, and ``least`` at least.

        Returns:
            Distances (q,), at most those ``last`` (q,) of the class, beyond which nothing matters. Of some hundred guesses one
            or fewer is too low.
        """
        distances, limits = self.left[queries.start : queries.stop] @ self._sample, last.clone()
        num_sampled = distances.shape[1]
        for part, own in self.classes(queries):
            expected = max(own.stop - own.start, least) * num_sampled / self.size
            rank = math.ceil(expected + 3.0 * math.sqrt(expected) + 3.0)  # so many of the sample, by three standard deviations
            if rank <= num_sampled:
                rows = slice(part.start - queries.start, part.stop - queries.start)
                limits[rows] = torch.fmin(limits[rows], distances[rows].kthvalue(rank, dim=1).values)
        return limits
