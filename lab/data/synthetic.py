"""Generated images, for tests and for measurements of speed."""

from typing import Any

import torch

from lab.data.arrays import ImageArrays
from lab.data.batches import generator_for
from lab.data.module import ImageDataModule


class Synthetic(ImageDataModule):
    """A coarse random pattern a class, seen shifted and through noise; the same images whatever the seed.

    Args:
        num_classes_made: how many classes to make; ``classes`` may then choose among them.
        num_train_images: images made to train and validate on, as many of each class, to within one.
        num_test_images: images made to test on.
        stored_shape: channels, height and width of the images made.
        noise: standard deviation of the noise, in units of the full range of a pixel.
        options: those of every data set, see ``ImageDataModule``.
    """

    def __init__(
        self,
        num_classes_made: int = 10,
        num_train_images: int = 1_000,
        num_test_images: int = 200,
        stored_shape: tuple[int, int, int] = (1, 28, 28),
        noise: float = 0.1,
        **options: Any,
    ) -> None:
        self.all_class_names = [f"pattern {i}" for i in range(num_classes_made)]
        self.stored_shape = stored_shape
        super().__init__(**options)
        self.num_train_images = num_train_images
        self.num_test_images = num_test_images
        self.noise = noise

    def read(self) -> dict[str, ImageArrays]:
        """Make the training and the test split."""
        generator = generator_for("synthetic images")
        channels, height, width = self.stored_shape
        patterns = torch.rand(len(self.all_class_names), channels, 4, 4, generator=generator)
        patterns = torch.nn.functional.interpolate(patterns, (height, width), mode="bilinear")
        return {
            split: self._make(patterns, num, generator)
            for split, num in (("train", self.num_train_images), ("test", self.num_test_images))
        }

    def _make(self, patterns: torch.Tensor, num: int, generator: torch.Generator) -> ImageArrays:
        labels = torch.arange(num) % len(patterns)
        shifts = torch.randint(-2, 3, (num, 2), generator=generator).tolist()
        images = torch.empty(num, *self.stored_shape, dtype=torch.uint8)
        for i, (label, shift) in enumerate(zip(labels.tolist(), shifts, strict=True)):
            noise = torch.randn(self.stored_shape, generator=generator) * self.noise
            images[i] = ((patterns[label].roll(shift, (1, 2)) + noise) * 255).round().clamp(0, 255)
        return ImageArrays(images, labels, self.all_class_names)
