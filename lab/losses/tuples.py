"""Index tuples: which images of a batch form pairs and triplets, computed from the labels.

Every function returns equally long int64 vectors of positions in the batch. None holds an image next to itself.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Positions = npt.NDArray[np.int64]


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
    numbers = labels.cpu().numpy()  # NumPy takes a third of the time for vectors as short as these
    num, order = len(numbers), numbers.argsort(kind="stable")
    class_end = numbers[order].searchsorted(numbers[order], side="right")  # the position after the last one of its class
    # In sorted order, position i can pair with every later position of its class, and with every one after its class.
    last_partner = np.concatenate([class_end, np.full(num, num)])  # the position after it
    bounds = (last_partner - np.concatenate([np.arange(1, num + 1), class_end])).cumsum()
    num_same = int(bounds[num - 1]) if num else 0
    num_different = int(bounds[-1]) - num_same if num else 0
    same_class = _distinct_integers(num_same, num_pairs // 2, generator)
    different_class = _distinct_integers(num_different, num_pairs // 2, generator)
    num_each = min(len(same_class), len(different_class))
    chosen = np.array([*same_class[:num_each], *(num_same + place for place in different_class[:num_each])], dtype=np.int64)
    place = bounds.searchsorted(chosen, side="right")
    pairs = order[np.stack([place % max(1, num), last_partner[place] - bounds[place] + chosen])]
    # Else the classes would tell the first from the second.
    turned = (torch.rand(2 * num_each, generator=generator) < 0.5).numpy()
    first, second = torch.from_numpy(np.where(turned, pairs[::-1], pairs)).to(labels.device)
    return first, second, torch.arange(2 * num_each, device=labels.device) < num_each


def _distinct_integers(total: int, num: int, generator: torch.Generator) -> list[int]:
    """Draw ``num`` distinct integers below ``total`` in random order, or all of them where there are no more."""
    if 4 * num >= total:
        return torch.randperm(total, generator=generator)[:num].tolist()
    # Far fewer than there are: draw with repetition and keep the first of each, without listing them all.
    drawn: dict[int, None] = {}
    while len(drawn) < num:
        drawn.update(dict.fromkeys(torch.randint(total, (num,), generator=generator).tolist()))
    return list(drawn)[:num]


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
