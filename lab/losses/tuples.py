"""Index tuples: which images of a batch form pairs and triplets, computed from the labels.

Every function returns equally long int64 vectors of positions in the batch. None holds an image next to itself.
"""

import torch
from torch import Tensor, nn


def rows(values: Tensor, positions: Tensor) -> Tensor:
    """Return ``values[positions]``, (M, D) of values (N, D), with a gradient that is the same every time.

    Indexing adds up the gradients of a row that is taken more than once in any order that the threads come in.
    """
    return nn.functional.embedding(positions, values)


def entries(values: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return ``values[row, column]``, (M,) of values (N, K), with a gradient that is the same every time."""
    return rows(values.reshape(-1, 1), row * values.shape[1] + column).squeeze(1)


def balanced_pairs(labels: Tensor, num_pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw as many same-class as different-class pairs, each pair at most once, the two images of it in either order.

    Args:
        labels: class of each image, int64 (N,).
        num_pairs: how many pairs to draw at most; a set that holds fewer of one kind yields fewer of both.
        generator: source of the draw, on the CPU.

    Returns:
        ``first`` and ``second``, positions (M,), and ``same``, bool (M,), the same-class pairs first; M is even, and 0
        where one of the kinds does not exist.
    """
    labels_here = labels.cpu()
    order = torch.argsort(labels_here, stable=True)
    counts = torch.unique_consecutive(labels_here[order], return_counts=True)[1]
    same_class = _draw_pairs(order, counts, num_pairs // 2, True, generator)
    different_class = _draw_pairs(order, counts, num_pairs // 2, False, generator)
    num_each = min(len(same_class), len(different_class))
    pairs = torch.cat([same_class[:num_each], different_class[:num_each]])
    turned = torch.rand(len(pairs), 1, generator=generator) < 0.5  # else the classes would tell the first from the second
    pairs = torch.where(turned, pairs.flip(1), pairs).to(labels.device)
    return pairs[:, 0], pairs[:, 1], torch.arange(2 * num_each, device=labels.device) < num_each


def _draw_pairs(order: Tensor, counts: Tensor, num_pairs: int, same: bool, generator: torch.Generator) -> Tensor:
    """Draw distinct pairs (M, 2), uniformly from all same-class or all different-class pairs.

    Args:
        order: the positions (N,), class by class, of which the classes have ``counts``.
    """
    starts = counts.cumsum(0) - counts
    # In sorted order, position i can pair with every later position of its class, or with every one after its class.
    position = torch.arange(len(order))
    class_end = (starts + counts).repeat_interleave(counts)
    num_partners = class_end - position - 1 if same else len(order) - class_end
    first_partner = position + 1 if same else class_end
    bounds = num_partners.cumsum(0)
    total = int(bounds[-1]) if len(bounds) else 0
    chosen = _distinct_integers(total, num_pairs, generator)
    first = torch.searchsorted(bounds, chosen, right=True)
    second = first_partner[first] + chosen - (bounds[first] - num_partners[first])
    return torch.stack([order[first], order[second]], dim=1)


def _distinct_integers(total: int, num: int, generator: torch.Generator) -> Tensor:
    """Draw ``num`` distinct integers below ``total`` in random order, or all of them where there are no more."""
    if 4 * num >= total:
        return torch.randperm(total, generator=generator)[:num]
    # Far fewer than there are: draw with repetition and keep the first of each, without listing them all.
    drawn = torch.empty(0, dtype=torch.int64)
    while len(drawn) < num:
        drawn = torch.cat([drawn, torch.randint(total, (num,), generator=generator)])
        values, inverse = torch.unique(drawn, return_inverse=True)
        first_seen = torch.full((len(values),), len(drawn)).scatter_reduce_(0, inverse, torch.arange(len(drawn)), reduce="amin")
        drawn = drawn[first_seen.sort().values]
    return drawn[:num]


def all_triplets(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """List every (anchor, positive, negative) of a batch, from labels (N,)."""
    same, different = _relations(labels)
    anchor, positive = same.nonzero(as_tuple=True)  # first, as there are few: N x N x N would not fit for a large batch
    pair, negative = different[anchor].nonzero(as_tuple=True)
    return anchor[pair], positive[pair], negative


def semi_hard_triplets(distances: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """List the triplets whose negative is farther than the positive, but by less than the margin.

    Schroff, Kalenichenko and Philbin, "FaceNet", 2015, equation 4: d(a, p) < d(a, n) < d(a, p) + margin.

    Args:
        distances: distance of each image to each, (N, N).
        labels: class of each image, (N,).
        margin: width of the band, positive.
    """
    same, different = _relations(labels)
    anchor, positive = same.nonzero(as_tuple=True)
    gap = distances[anchor] - distances[anchor, positive].unsqueeze(1)  # [(a, p), n] = d(a, n) - d(a, p)
    pair, negative = (different[anchor] & (gap > 0) & (gap < margin)).nonzero(as_tuple=True)
    return anchor[pair], positive[pair], negative


def batch_hard_triplets(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """List one triplet an anchor: its farthest positive and its nearest negative.

    Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, equation 5. An image
    without a positive or without a negative in the batch is no anchor.

    Args:
        distances: distance of each image to each, (N, N).
        labels: class of each image, (N,).
    """
    same, different = _relations(labels)
    anchor = (same.any(1) & different.any(1)).nonzero().squeeze(1)
    positive = distances.masked_fill(~same, -torch.inf).argmax(1)
    negative = distances.masked_fill(~different, torch.inf).argmin(1)
    return anchor, positive[anchor], negative[anchor]


def _relations(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mark the positives (N, N), without the image itself, and the negatives (N, N) of each image."""
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    different = ~same
    same.fill_diagonal_(False)
    return same, different
