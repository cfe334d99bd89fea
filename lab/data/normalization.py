"""What is taken from the pixels of an image, and what they are divided by, before a network sees them."""

from typing import Literal

import torch
from torch import Tensor

from lab.data.arrays import ImageArrays

Normalization = Literal["unit", "standard", "mean_image"]


def measure(arrays: ImageArrays, how: Normalization) -> tuple[Tensor, Tensor]:
    """Return ``mean`` and ``std`` by which pixels scaled to [0, 1] are normalised, (C, 1, 1), or a mean of (C, H, W).

    ``unit`` leaves them in [0, 1]. ``standard`` gives each channel mean 0 and standard deviation 1 over these images.
    ``mean_image`` takes the mean image away and leaves the rest in units of 1 / 255, the pixels' own.
    """
    channels = arrays.images.shape[1]
    if how == "unit":
        return torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1)
    parts = torch.arange(len(arrays)).split(4096)  # so that a set larger than memory is read piece by piece
    if how == "mean_image":
        mean = torch.stack([arrays[part][0].sum(0, dtype=torch.float64) for part in parts]).sum(0) / len(arrays)
        return (mean / 255).float(), torch.full((channels, 1, 1), 1 / 255)
    histogram = torch.zeros(channels, 256, dtype=torch.float64)
    for part in parts:
        images = arrays[part][0].transpose(0, 1).flatten(1)
        histogram += torch.stack([torch.bincount(channel, minlength=256) for channel in images])
    values, weights = torch.arange(256) / 255.0, histogram / histogram.sum(1, keepdim=True)
    mean = (weights * values).sum(1)
    std = (weights * (values - mean.unsqueeze(1)).square()).sum(1).sqrt()
    return mean.float().view(-1, 1, 1), std.clamp(min=1 / 255).float().view(-1, 1, 1)
