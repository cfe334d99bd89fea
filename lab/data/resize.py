"""Images of another size."""

import torch

from lab.data.arrays import ImageArrays


def resized(arrays: ImageArrays, size: tuple[int, int]) -> ImageArrays:
    """Return the images at height and width ``size``, bilinear with antialiasing; themselves where they have it already."""
    if tuple(arrays.images.shape[2:]) == size:
        return arrays
    images = torch.empty(len(arrays), arrays.images.shape[1], *size, dtype=torch.uint8)
    for part in torch.arange(len(arrays)).split(1024):
        shrunk = torch.nn.functional.interpolate(arrays[part][0].float(), size, mode="bilinear", antialias=True)
        images[part] = shrunk.round().clamp(0, 255).to(torch.uint8)
    return ImageArrays(images, arrays.labels, arrays.class_names)
