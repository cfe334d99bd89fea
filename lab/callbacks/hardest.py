"""The mistakes of a test that are worst, by their positions in it."""

import torch
from torch import Tensor


def hardest_pairs(distances: Tensor, same: Tensor, num: int) -> Tensor:
    """Return positions of the farthest same-class pairs and then the nearest different-class pairs, ``num`` of each kind."""
    farthest = torch.where(same, distances, -torch.inf).argsort(descending=True)[: min(num, int(same.sum()))]
    nearest = torch.where(same, torch.inf, distances).argsort()[: min(num, int((~same).sum()))]
    return torch.cat([farthest, nearest])


def worst_queries(
    embeddings: Tensor, labels: Tensor, num: int, num_neighbors: int, most: int = 5_000
) -> tuple[Tensor, Tensor, Tensor]:
    """Look images up among all others, and return those whose nearest of another class is nearest against their own.

    Args:
        embeddings: (N, D), to be compared by Euclidean distance; labels: (N,).
        num: how many queries to return at most: only ones whose nearest image is wrong, the worst first.
        num_neighbors: how many of the nearest to return of each.
        most: how many images are looked up, the first ones.

    Returns:
        Positions of queries (Q,), positions (Q, K) and distances (Q, K) of their nearest.
    """
    severities, nearest, distances = [], [], []
    depth = min(num_neighbors, len(embeddings) - 1)
    for rows in torch.arange(min(most, len(embeddings))).split(512):
        apart = torch.cdist(embeddings[rows], embeddings)
        apart[torch.arange(len(rows)), rows] = torch.inf
        own = labels[rows].unsqueeze(1) == labels
        own[torch.arange(len(rows)), rows] = False
        to_own, to_other = apart.masked_fill(~own, torch.inf).amin(1), apart.masked_fill(own, torch.inf).amin(1)
        severities.append((to_own - to_other).where(own.any(1), -torch.inf))
        found = apart.topk(depth, dim=1, largest=False)
        nearest.append(found.indices)
        distances.append(found.values)
    severity = torch.cat(severities)
    worst = severity.argsort(descending=True)[:num]
    worst = worst[severity[worst] >= 0]  # a tie is an error
    return worst, torch.cat(nearest)[worst], torch.cat(distances)[worst]


def worst_predictions(logits: Tensor, labels: Tensor, num: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return positions of the images that are told wrong most surely, what they are taken for, and how probable that was."""
    probabilities = logits.softmax(1)
    probability, predicted = probabilities.max(1)
    surety = probability.masked_fill(predicted == labels, -1.0)
    worst = surety.argsort(descending=True)[:num]
    worst = worst[surety[worst] >= 0]
    return worst, predicted[worst], probability[worst]
