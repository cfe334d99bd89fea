"""Cross-validation: the training images in parts, each of which is validated on once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.batches import generator_for


@dataclass(frozen=True)
class Folds:
    """One turn of a k-fold cross-validation: Stone, "Cross-validatory Choice and Assessment ...", 1974.

    The training images are parted into folds with as many of each class, as they are labelled, to within one image, the same
    ones whatever the seed, unless that decides the labels or the images. A fold keeps its labels, wrong ones too.
    One of the folds takes the place of the validation images, and the others are trained on. What was to validate on is
    left out; ``data.join [val]`` parts it with the training images.

    Args:
        num: how many folds, 2 or more.
        held_out: which of them to validate on, from 0.
    """

    num: int = 5
    held_out: int = 0

    def __post_init__(self) -> None:
        if self.num < 2 or not 0 <= self.held_out < self.num:
            raise ValueError(
                f"data.folds needs num of 2 or more and held_out from 0 to below it, not {self.num} and {self.held_out}"
            )

    def part(self, splits: dict[str, ImageArrays]) -> Tensor:
        """Make the splits ``train`` and ``val`` of this turn, in place, and return which positions are still trained on.

        Raises:
            ValueError: if a fold would be empty, or validation is on other classes than training.
        """
        train = splits["train"]
        if "val" in splits and splits["val"].class_names != train.class_names:
            raise ValueError("data.folds parts the images of each class, but this data set validates on classes of its own")
        if self.num > len(train):
            raise ValueError(f"data.folds.num {self.num} is more than the {len(train)} training images")
        folds = fold_of_each(train.labels, self.num)
        kept = (folds != self.held_out).nonzero().squeeze(1)
        splits["train"], splits["val"] = train.select(kept), train.select((folds == self.held_out).nonzero().squeeze(1))
        return kept


def fold_of_each(labels: Tensor, num_folds: int) -> Tensor:
    """Return the fold of each image, int64 (N,) from 0 to below ``num_folds``, from labels (N,), by nothing else."""
    order = torch.randperm(len(labels), generator=generator_for("folds"))
    by_class = order[torch.argsort(labels[order], stable=True)]
    folds = torch.empty_like(labels)
    folds[by_class] = torch.arange(len(labels)) % num_folds
    return folds
