"""How far two embeddings are from each other."""

from typing import Literal

import torch
from torch import Tensor, nn

Distance = Literal["euclidean", "cosine"]


def pairwise_distances(embeddings: Tensor, distance: Distance) -> Tensor:
    """Return the distance of each embedding to each.

    Args:
        embeddings: float (N, D).
        distance: ``euclidean``, in [0, inf), or ``cosine``, 1 - cosine similarity, in [0, 2].

    Returns:
        (N, N). Its gradient is 0, not NaN, between equal embeddings.
    """
    if distance == "cosine":
        unit = nn.functional.normalize(embeddings, dim=1)
        return 1.0 - unit @ unit.T
    # Not by way of a matrix product, which loses the small distances that decide which positive is the hardest.
    return torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")


def pair_distances(first: Tensor, second: Tensor, distance: Distance) -> Tensor:
    """Return the distance of each of ``first`` (M, D) to the one of ``second`` (M, D) beside it, (M,)."""
    if distance == "cosine":
        return 1.0 - nn.functional.cosine_similarity(first, second, dim=1)
    distances: Tensor = torch.linalg.vector_norm(first - second, dim=1)
    return distances
