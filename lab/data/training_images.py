"""Which images are trained on, and how they are labelled."""

from pathlib import Path

import torch
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.batches import generator_for
from lab.data.left_out import leave_out
from lab.data.noise import redraw_labels
from lab.data.splits import few_a_class


def training_images(
    train: ImageArrays, num_images_per_class: int | None, label_noise: float, exclude: Path | None, seed: int
) -> tuple[ImageArrays, Tensor]:
    """Return the images to train on, as they are labelled, and their true labels (N,).

    Args:
        train: all there are.
        num_images_per_class: how many to draw of each class; None for all.
        label_noise: share of their labels to redraw.
        exclude: list of those to leave out then.
        seed: decides both draws.
    """
    if num_images_per_class is not None:
        train = train.select(few_a_class(train.labels, num_images_per_class, generator_for("few a class", seed)))
    true_labels = train.labels
    if label_noise:
        noisy = redraw_labels(true_labels, len(train.class_names), label_noise, generator_for("label noise", seed))
        train = train.select(torch.arange(len(noisy)), noisy)
    if exclude is not None:
        kept = leave_out(train, exclude)
        train, true_labels = train.select(kept), true_labels[kept]
    return train, true_labels
