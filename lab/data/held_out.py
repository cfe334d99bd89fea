"""Which images are for testing, where a data set has no test images of its own."""

import hashlib
import os
from itertools import accumulate, pairwise


def check_test_size(test_size: int | float) -> None:
    """Make sure that this is a share or a number.

    Raises:
        ValueError: if it is neither.
    """
    if not test_size > 0 or (isinstance(test_size, float) and (test_size == 1 or (test_size > 1 and test_size % 1))):
        raise ValueError(f"data.test_size must be a share below 1 or a whole number, not {test_size}")


def num_to_hold_out(test_size: int | float, num_images: int) -> int:
    """Return how many of so many images are for testing.

    Raises:
        ValueError: if none is left to test or to train on.
    """
    num = round(test_size * num_images) if test_size < 1 else round(test_size)
    if not 0 < num < num_images:
        leaves = "nothing to train on" if num else "nothing to test on"
        raise ValueError(f"data.test_size {test_size} leaves {leaves}: there are {num_images} images")
    return num


def hold_out_by_name(names: list[str], labels: list[int], class_names: list[str], test_size: int | float) -> list[int]:
    """Choose images to test on by nothing but their names, as many of each class in proportion, to within one image.

    A share that is held out of one class depends on this class alone, and an image that comes to it moves at most one other.
    A class never gives its last image.

    Args:
        names: name of each of the N images within its class; labels: its class, by the place in ``class_names``.
        test_size: how many to choose, a share or a number.

    Returns:
        Positions chosen, sorted.

    Raises:
        ValueError: if none is left to test or to train on.
    """
    members: list[list[int]] = [[] for _ in class_names]
    for position, label in enumerate(labels):
        members[label].append(position)
    counts = [len(positions) for positions in members]
    num = num_to_hold_out(test_size, len(names))
    # Where the share is no whole number it is rounded up or down by the name of the class: many small classes do not all
    # give none.
    due = [int(round(test_size * n, 6) + _fraction(name)) for n, name in zip(counts, class_names, strict=True)]
    if test_size >= 1 or not any(due):
        due = [after - before for before, after in pairwise(n * num // len(names) for n in accumulate(counts, initial=0))]
    chosen: list[int] = []
    for name, positions, num in zip(class_names, members, due, strict=True):
        drawn = sorted(positions, key=lambda position: _fraction(f"{name}/{names[position]}"))
        chosen += drawn[: max(0, min(num, len(positions) - 1))]
    if not chosen:
        raise ValueError(f"data.test_size {test_size} leaves nothing to test on: a class keeps its last image")
    return sorted(chosen)


def _fraction(name: str) -> float:
    """Return a number from 0 to below 1 that is the same for a name on every machine, and otherwise like a random one."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:6], "big") / 2**48
