"""What the page asks of a trained model. To be replaced by the project's own way of applying one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lab.data.preparation import Preparation, scaled
from lab.metrics import EmbeddingMetrics
from lab.models import Family, load, read_checkpoint

UNITS = {"euclidean": "Euclidean distance", "cosine": "cosine distance", None: "distance"}
BATCH = 64


class Comparison(NamedTuple):
    """What a model says of two pictures; NaN where it was never calibrated by validation pairs."""

    distance: float
    threshold: float
    probability: float
    unit: str


@dataclass(frozen=True)
class TriedModel:
    """A model of a checkpoint, with how it wants its pictures."""

    model: Family
    preparation: Preparation

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TriedModel":
        """Load a checkpoint.

        Raises:
            ValueError: if it is none, or does not say how its images were prepared.
        """
        state = read_checkpoint(path).get("preparation")
        if not isinstance(state, dict):
            raise ValueError(f"{path} does not say how its images were prepared: it was not saved by a run of this project")
        return cls(load(path), Preparation.from_state(state))

    @property
    def family(self) -> str:
        """The class of the model."""
        return type(self.model).__name__

    @property
    def compares(self) -> bool:
        """Whether it compares pictures, or else tells their classes."""
        return isinstance(self.model.metrics, EmbeddingMetrics)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network sees."""
        return self.preparation.image_shape

    def read(self, path: str | os.PathLike[str]) -> Tensor:
        """Return the picture in a file as the network sees it before it is normalised, uint8 (C, H, W).

        Raises:
            ValueError: if it is no picture, or too large a one.
        """
        return self.preparation.read(path)

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        """Return what the model makes of uint8 images (C, H, W): embeddings or logits, float32 (N, D)."""
        outputs = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = scaled(torch.stack(list(images[start : start + BATCH])))
                outputs.append(self.model(self.preparation.normalize(batch)).float())
        return torch.cat(outputs)

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Return distances (N,) of embeddings (N, D) to those (N, D) beside them."""
        metrics: Any = self.model.metrics
        with torch.inference_mode():
            found: Tensor = metrics.pair_distance(first, second).float()
        return found

    def compare(self, first: Tensor, second: Tensor) -> Comparison:
        """Compare two uint8 images (C, H, W)."""
        metrics: Any = self.model.metrics
        one, other = self.embed([first, second]).split(1)
        distance = self.distances(one, other)
        probability = metrics.probability(distance)
        return Comparison(distance.item(), metrics.threshold.item(), probability.item(), UNITS[metrics.search])

    def classify(self, image: Tensor) -> dict[str, float]:
        """Return the probability of each class by its name, of a uint8 image (C, H, W)."""
        probabilities = self.embed([image])[0].softmax(0).tolist()
        names = self.preparation.class_names
        return {names[label] if label < len(names) else f"class {label}": value for label, value in enumerate(probabilities)}
