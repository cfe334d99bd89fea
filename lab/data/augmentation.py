"""Random changes of a batch of images, made on the device, the same for the same generator."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """One random affine map an image, and a mirror; strength 0 leaves a change out. What enters at the rim repeats the rim.

    Args:
        rotate: largest rotation either way, in degrees.
        shift: largest shift either way along each axis, as a share of the side.
        scale: largest relative change of size either way, below 1.
        shear: largest shear either way, in degrees, below 90.
        flip: probability of a mirror image, left to right.
    """

    rotate: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in (("rotate", 180.0), ("shift", 1.0), ("scale", 0.99), ("shear", 89.0), ("flip", 1.0)):
            if not 0.0 <= getattr(self, name) <= limit:
                raise ValueError(f"data.augmentation.{name} must be from 0 to {limit:g}, not {getattr(self, name)}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of float images (N, C, H, W), drawn from a generator on the CPU."""
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
        maps = (torch.stack(rows).permute(2, 0, 1) / size.view(-1, 1, 1)).to(images)
        grid = torch.nn.functional.affine_grid(maps, list(images.shape), align_corners=False)
        return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
