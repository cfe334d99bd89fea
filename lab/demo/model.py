"""What the page asks of a trained model."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lab.apply.trained import Trained

UNITS = {"euclidean": "Euclidean distance", "cosine": "cosine distance", "pair": "distance"}


class Comparison(NamedTuple):
    """What a model says of two pictures; NaN where it was never calibrated by validation pairs."""

    distance: float
    threshold: float
    probability: float
    unit: str


@dataclass(frozen=True)
class TriedModel:
    """A trained model, asked about pictures that are there already, one or two at a time."""

    trained: Trained

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TriedModel":
        """Load a checkpoint.

        Raises:
            ValueError: if it is none, or does not say how its images were prepared.
        """
        return cls(Trained.load(path))

    @property
    def family(self) -> str:
        """The class of the model."""
        return self.trained.family

    @property
    def compares(self) -> bool:
        """Whether it compares pictures, or else tells their classes."""
        return not self.trained.classifies

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network sees."""
        return self.trained.preparation.image_shape

    def read(self, path: str | os.PathLike[str]) -> Tensor:
        """Return the picture in a file as the network sees it before it is normalised, uint8 (C, H, W).

        Raises:
            ValueError: if it is no picture, or too large a one.
        """
        return self.trained.preparation.read(path)

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        """Return the embeddings, float32 (N, D), of uint8 images (C, H, W)."""
        return self.trained.embed(torch.stack(list(images)))

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Return distances (N,) of embeddings (N, D) to those (N, D) beside them."""
        return self.trained.distances(first, second)

    def compare(self, first: Tensor, second: Tensor) -> Comparison:
        """Compare two uint8 images (C, H, W)."""
        one, other = self.embed([first, second]).split(1)
        said = self.trained.judge(self.distances(one, other))
        unit = UNITS[self.trained.distance_kind]
        return Comparison(said.distances.item(), self.trained.threshold, said.probability.item(), unit)

    def classify(self, image: Tensor) -> dict[str, float]:
        """Return the probability of each class by its name, of a uint8 image (C, H, W)."""
        probabilities = self.trained.classify(image.unsqueeze(0))[0].tolist()
        names = self.trained.class_names
        return {names[label] if label < len(names) else f"class {label}": value for label, value in enumerate(probabilities)}
