"""What is exported of a trained model: networks that take plain pictures, and the facts that go with them."""

from typing import Any

import torch
from torch import Tensor, nn

import lab
from lab.apply.trained import Trained


class Encoder(nn.Module):
    """Float images (N, C, H, W) in [0, 1] to embeddings (N, D), or to class probabilities (N, K); normalises by itself.

    Args:
        trained: the model, on the CPU.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.model = trained.model
        self.classifies = trained.classifies
        self.register_buffer("mean", trained.preparation.mean)
        self.register_buffer("std", trained.preparation.std)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise and encode."""
        outputs: Tensor = self.model((images - self.mean) / self.std)
        return outputs.softmax(1) if self.classifies else outputs


class Pair(nn.Module):
    """Two batches of such images, the first and the second of N pairs, to distances (N,) and probabilities (N,).

    A pair is called the same up to the threshold, which goes with the file; the probability is NaN where there is none.

    Args:
        encoder: of a model that compares pictures.
        trained: that model.
    """

    slope: Tensor
    offset: Tensor

    def __init__(self, encoder: Encoder, trained: Trained) -> None:
        super().__init__()
        self.encoder = encoder
        self.pair_distance = trained.metrics.pair_distance
        self.register_buffer("slope", trained.metrics.slope.clone())
        self.register_buffer("offset", trained.metrics.offset.clone())

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Encode both and compare."""
        distances = self.pair_distance(self.encoder(first), self.encoder(second))
        return distances, torch.sigmoid(self.offset - self.slope * distances)


def facts(trained: Trained) -> dict[str, Any]:
    """Return what whoever uses an exported network has to know, in plain Python; numbers that there are none of are None."""
    of_pairs: dict[str, Any] = {}
    if not trained.classifies:
        numbers = {name: getattr(trained.metrics, name).item() for name in ("threshold", "slope", "offset")}
        of_pairs = {name: None if value != value else value for name, value in numbers.items()}
        of_pairs["distance"] = trained.distance_kind
    return {
        **of_pairs,
        "class_names": trained.class_names,
        "image_shape": list(trained.preparation.image_shape),
        "preparation": trained.preparation.state_dict(),
        "family": trained.family,
        "lab_version": lab.__version__,
        "weights": trained.digest,
    }
