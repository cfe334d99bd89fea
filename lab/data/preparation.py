"""How a picture becomes what a network sees, whether it comes from a data set or, later, from a file."""

import os
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor

from lab.data.pictures import Fit, decode


def scaled(images: Tensor) -> Tensor:
    """Return uint8 images as floats in [0, 1]."""
    return torch.mul(images, 1 / 255)  # in one pass, where to convert and then to scale are two


@dataclass(frozen=True)
class Preparation:
    """What a checkpoint has to know to prepare a new picture for its model.

    Args:
        class_names: name of each class that was trained on, by label.
        image_shape: channels, height and width.
        mean, std: taken from pixels in [0, 1], and what the rest is divided by: (C, 1, 1), or of a mean image (C, H, W).
        fit: how a picture file is brought to that shape, as in ``decode``.
        inverted: whether the images of the data set are negatives of its picture files: light on dark instead of dark on light.
    """

    class_names: list[str]
    image_shape: tuple[int, int, int]
    mean: Tensor
    std: Tensor
    fit: Fit = "crop"
    inverted: bool = False

    def read(self, path: str | os.PathLike[str]) -> Tensor:
        """Return the picture in a file as uint8 (C, H, W).

        Raises:
            ValueError: as ``decode`` does.
        """
        channels, height, width = self.image_shape
        pixels = decode(path, (height, width), self.fit, channels)
        return 255 - pixels if self.inverted else pixels

    def normalize(self, images: Tensor) -> Tensor:
        """Return what a network sees of float images (N, C, H, W) in [0, 1], changed in place."""
        if self._leaves_them:
            return images
        return images.sub_(self.mean.to(images.device)).div_(self.std.to(images.device))

    @cached_property
    def _leaves_them(self) -> bool:
        return not self.mean.any() and bool((self.std == 1).all())

    def state_dict(self) -> dict[str, Any]:
        """Return the same in plain Python."""
        state = {**{field.name: getattr(self, field.name) for field in fields(self)}, "image_shape": list(self.image_shape)}
        return {**state, "mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Preparation":
        """Make it again from plain Python.

        Raises:
            ValueError: if the state is not one.
        """
        try:
            channels, height, width = (int(size) for size in state["image_shape"])
            mean, std = torch.tensor(state["mean"]), torch.tensor(state["std"]).view(channels, 1, 1)
            mean = mean.view(channels, *((1, 1) if len(mean) == channels else (height, width)))
            names, fit, inverted = [str(name) for name in state["class_names"]], state["fit"], bool(state["inverted"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"a checkpoint does not say how its images were prepared ({type(error).__name__}: {error})"
            ) from error
        if channels not in (1, 3) or not 0 < height * width <= 4096 * 4096 or fit not in get_args(Fit):
            raise ValueError(f"a checkpoint asks for images of {channels} x {height} x {width}, by {fit!r}, which cannot be")
        return cls(names, (channels, height, width), mean, std, fit, inverted)
