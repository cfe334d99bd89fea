"""What is seen of the first and of the second image of a pair."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

Views = Literal["whole", "upper_lower", "left_right"]


def both_views(images: Tensor, views: Views) -> tuple[Tensor, Tensor]:
    """Return what is seen of images (N, C, H, W) as first and as second of a pair: the whole, or one half and the other.

    Of an odd number of rows or columns, the one in the middle is in neither half.
    """
    if views == "whole":
        return images, images
    dim = 2 if views == "upper_lower" else 3
    size = images.shape[dim] // 2
    return images.narrow(dim, 0, size), images.narrow(dim, images.shape[dim] - size, size)


def view_shape(image_shape: Sequence[int], views: Views) -> tuple[int, int, int]:
    """Return the channels, height and width of a view of images of a shape."""
    channels, height, width = image_shape
    return channels, height // 2 if views == "upper_lower" else height, width // 2 if views == "left_right" else width
