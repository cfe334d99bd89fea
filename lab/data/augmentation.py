"""Random changes of a batch of images, made on the device, the same for the same generator."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = {"rotate": 180.0, "shift": 1.0, "scale": 0.99, "shear": 89.0, "crop": 0.99}
LARGEST |= dict.fromkeys(("flip", "cutout", "brightness", "contrast", "saturation", "noise"), 1.0)


@dataclass(frozen=True)
class Augmentation:
    """One random affine map an image, then changes of its pixels; strength 0 leaves a change out.

    What enters at the rim repeats the rim. With rotate, shear, scale and shift it is the affine distortion of Koch et al.
    (2015).

    Args:
        rotate: largest rotation either way, in degrees.
        shift: largest shift either way along each axis, as a share of the side.
        scale: largest relative change of size either way, below 1.
        shear: largest shear either way, in degrees, below 90.
        flip: probability of a mirror image, left to right.
        crop: largest share of each side that is cut away, the rest being enlarged to the whole.
        cutout: side of a square, as a share of the image's, that is filled with the mean of the image; its center is
            anywhere in the image (DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
            Cutout", 2017).
        brightness, contrast, saturation: largest relative change either way of all pixels, of their distance from the
            image's mean grey, and of their distance from their own grey.
        noise: standard deviation of normal noise on each pixel, in units of the full range.
    """

    rotate: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: float = 0.0
    crop: float = 0.0
    cutout: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in LARGEST.items():
            if not 0.0 <= getattr(self, name) <= limit:
                raise ValueError(f"data.augmentation.{name} must be from 0 to {limit:g}, not {getattr(self, name)}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of float images (N, C, H, W), pixels in [0, 1], drawn from a generator on the CPU."""
        changed = self._map(images, generator)
        if self.brightness or self.contrast or self.saturation:
            changed = self._recolor(changed, generator)
        if self.cutout:
            changed = self._cut_out(changed, generator)
        if self.noise:
            changed = changed + self.noise * torch.randn(images.shape, generator=generator).to(images)
        return changed.clamp(0.0, 1.0) if self.noise or self.brightness or self.contrast or self.saturation else changed

    def _map(self, images: Tensor, generator: torch.Generator) -> Tensor:
        num = len(images)
        draws = torch.rand(6, num, generator=generator)
        angle, shift_x, shift_y, size, shear = draws[:5] * 2.0 - 1.0
        angle, shear = angle * math.radians(self.rotate), torch.tan(shear * math.radians(self.shear))
        size = 1.0 + size * self.scale
        mirror = torch.where(draws[5] < self.flip, -1.0, 1.0)
        aspect = images.shape[2] / images.shape[3]
        # From output to input coordinates, rotation first in pixels, then in units of half a side, as grid_sample counts.
        rows = [
            torch.stack([angle.cos() * mirror, (shear * angle.cos() - angle.sin()) * aspect, 2 * self.shift * shift_x * size]),
            torch.stack([angle.sin() * mirror / aspect, shear * angle.sin() + angle.cos(), 2 * self.shift * shift_y * size]),
        ]
        maps = torch.stack(rows).permute(2, 0, 1) / size.view(-1, 1, 1)
        if self.crop:
            maps = maps @ self._window(num, generator)
        grid = torch.nn.functional.affine_grid(maps.to(images), list(images.shape), align_corners=False)
        mapped: Tensor = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return mapped

    def _window(self, num: int, generator: torch.Generator) -> Tensor:
        """Return maps (N, 3, 3) from the whole image to a window that lies within it."""
        cut, x, y = torch.rand(3, num, generator=generator)
        cut = cut * self.crop
        window = torch.eye(3).repeat(num, 1, 1)
        window[:, 0, 0] = window[:, 1, 1] = 1 - cut
        window[:, 0, 2], window[:, 1, 2] = cut * (2 * x - 1), cut * (2 * y - 1)
        return window

    def _recolor(self, images: Tensor, generator: torch.Generator) -> Tensor:
        brightness, contrast, saturation = (torch.rand(3, len(images), 1, 1, 1, generator=generator) * 2 - 1).to(images)
        images = images * (1 + self.brightness * brightness)
        mean = _grey(images).mean((1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (1 + self.contrast * contrast)
        recolored: Tensor = _grey(images) + (images - _grey(images)) * (1 + self.saturation * saturation)
        return recolored

    def _cut_out(self, images: Tensor, generator: torch.Generator) -> Tensor:
        num, _, height, width = images.shape
        center = torch.rand(2, num, 1, generator=generator)
        inside = [
            ((torch.arange(side) + 0.5) / side - middle).abs() < self.cutout / 2
            for side, middle in zip((height, width), center, strict=True)
        ]
        hidden = (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1).to(images.device)
        filled: Tensor = torch.where(hidden, images.mean((1, 2, 3), keepdim=True), images)
        return filled


def check_augmentation(augmentation: Augmentation | None, num_channels: int) -> None:
    """Refuse a change that images of so many channels do not have.

    Raises:
        ValueError: naming it.
    """
    if augmentation is not None and augmentation.saturation and num_channels == 1:
        raise ValueError("data.augmentation.saturation has no effect on grey images: leave it out")


def _grey(images: Tensor) -> Tensor:
    """Return the brightness (N, 1, H, W) of images of three channels, weighted as ITU-R 601 does, or of one."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
