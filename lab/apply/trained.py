"""A trained model with all that it needs to look at a person's own pictures."""

import hashlib
import json
import os
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lab.apply.reading import PictureBatch, read_batches
from lab.data.preparation import Preparation, scaled
from lab.metrics import ClassificationMetrics, EmbeddingMetrics
from lab.models import Family, load, read_checkpoint

MAX_CHUNK_ELEMENTS = 2**22
Pictures = Sequence[Path] | Tensor
NO_THRESHOLD = "was never validated, so it has no threshold to call pictures the same by: train it with validation images"
# What of a checkpoint's settings has no part in what its model makes of a picture.
OF_TRAINING = ("optimizer", "scheduler", "loss", "num_pairs", "evaluation")


class Comparison(NamedTuple):
    """What a model says of M pairs: distances, float32 (M,); whether they are called the same, bool (M,); how probably."""

    distances: Tensor
    same: Tensor
    probability: Tensor


@dataclass(frozen=True)
class Trained:
    """A family in evaluation mode, in float32, and how a picture is prepared for it.

    Args:
        path: the checkpoint.
        model: the family, on ``device``.
        preparation: how a picture becomes what the network sees.
        device: where to compute.
        batch_size: pictures at a time.
    """

    path: Path
    model: Family
    preparation: Preparation
    device: torch.device
    batch_size: int = 256

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto", batch_size: int = 256, **arguments: Any) -> "Trained":
        """Read a checkpoint; ``arguments`` are those of ``lab.models.load``.

        Args:
            path: the checkpoint.
            device: ``cpu``, ``cuda``, or ``auto`` for the GPU where there is one.
            batch_size: pictures at a time.
            arguments: of the family, where the checkpoint could not describe them.

        Raises:
            ValueError: if it cannot be read, has a class that is not known, or does not say how its pictures were prepared.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device cuda: there is no GPU here that PyTorch can use; leave it out, or say cpu")
        state = read_checkpoint(path).get("preparation")
        if not isinstance(state, dict) or "mean" not in state:
            raise ValueError(
                f"{path} does not say how its pictures were prepared: it was not trained on a data set of lab.data"
            )
        try:
            preparation = Preparation.from_state(state)
            model = load(path, **arguments).requires_grad_(False)
        except ValueError as error:
            stranger = re.search(r" names (\S+)\.[^.\s]+, which is not a known class.* import it first$", str(error))
            raise ValueError(f"{error}: --trust {stranger[1]}" if stranger else str(error)) from error
        where = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
        return cls(Path(path), model.float().to(where), preparation, where, batch_size)

    @property
    def family(self) -> str:
        """The name of its family."""
        return type(self.model).__name__

    @property
    def classifies(self) -> bool:
        """Whether it gives probabilities of classes, rather than embeddings."""
        return isinstance(self.model.metrics, ClassificationMetrics)

    @property
    def metrics(self) -> EmbeddingMetrics:
        """What the model's embeddings are compared by.

        Raises:
            ValueError: if it has none.
        """
        if not isinstance(self.model.metrics, EmbeddingMetrics):
            raise ValueError(
                f"{self.path} is a {self.family}, which tells classes and compares no pictures: use scripts/predict.py, or a "
                "Siamese or Triplet checkpoint"
            )
        return self.model.metrics

    @property
    def threshold(self) -> float:
        """The distance up to which a pair is called the same; NaN if the model was never validated."""
        return self.metrics.threshold.item()

    @property
    def class_names(self) -> list[str]:
        """The names of the classes that it was trained on."""
        return self.preparation.class_names

    def name_of(self, label: int) -> str:
        """Return what one of its classes is called."""
        return self.class_names[label] if label < len(self.class_names) else f"class {label}"

    @property
    def distance_kind(self) -> str:
        """By what pictures are compared: ``euclidean``, ``cosine``, or ``pair`` for one that is learned or has two views."""
        return self.metrics.search or "pair"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides what it makes of a picture: weights, settings of the network, preparation."""
        settings = {name: value for name, value in self.model.hparams.items() if name not in OF_TRAINING}
        described = [settings, self.preparation.state_dict() | {"class_names": []}]
        digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
        for name, value in sorted(self.model.state_dict().items()):
            if not name.startswith(("metrics.", "loss.")):  # a threshold that is set anew changes no embedding
                digest.update(f"{name} {tuple(value.shape)}".encode())
                digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def check_threshold(self) -> None:
        """Make sure that there is a threshold.

        Raises:
            ValueError: if there is none.
        """
        if self.threshold != self.threshold:
            raise ValueError(f"{self.path} {NO_THRESHOLD}")

    def outputs(self, images: Tensor) -> Tensor:
        """Return what the family gives, float32 (N, ...), on the CPU, for one batch of images, uint8 (N, C, H, W).

        Raises:
            ValueError: if there is not memory enough, or the outputs are not finite.
        """
        # The same numbers on all devices: a GPU would round the factors of convolutions to 10 bits.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            try:
                outputs: Tensor = self.model(self.preparation.normalize(scaled(images.to(self.device))))
            except torch.OutOfMemoryError as error:
                raise ValueError(f"there is too little memory for {len(images)} pictures: --batch_size 32, say") from error
        outputs = outputs.float().cpu()
        if not outputs.isfinite().all():
            raise ValueError(f"{self.path} gives numbers that are not finite: its training has diverged")
        return outputs

    def batches(self, paths: Sequence[Path]) -> Generator[tuple[PictureBatch, Tensor], None, None]:
        """Yield the pictures in files and what the family gives for those of them that can be read."""
        pictures = read_batches(paths, self.preparation.read, self.preparation.image_shape, self.batch_size)
        for batch in pictures:
            yield batch, self.outputs(batch.images) if len(batch.images) else torch.empty(0)

    def embed(self, pictures: Pictures) -> Tensor:
        """Return embeddings, float32 (N, D), with two views (N, 2 D), of files or of images, uint8 (N, C, H, W).

        Raises:
            ValueError: if the model has none, or a picture cannot be read, naming it.
        """
        _ = self.metrics
        return self._all(pictures)

    def compare(self, first: Tensor, second: Tensor) -> Comparison:
        """Say of embeddings (M, D) and those (M, D) beside them which are of one class; of two views, the first is the first.

        Raises:
            ValueError: if the model has no threshold.
        """
        self.check_threshold()
        return self.judge(self.distances(first, second))

    def judge(self, distances: Tensor) -> Comparison:
        """Say the same of distances (M,); where there is no threshold, nothing is the same and the probability is NaN."""
        metrics = self.metrics
        return Comparison(distances, distances <= metrics.threshold.cpu(), metrics.probability(distances.to(self.device)).cpu())

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the model's own distances, float32 (M,), of embeddings (M, D) to those (M, D) beside them."""
        parts = []
        with torch.inference_mode():
            for chunk in torch.arange(len(first)).split(max(1, MAX_CHUNK_ELEMENTS // max(1, first.shape[1]))):
                pair = (first[chunk].to(self.device), second[chunk].to(self.device))
                parts.append(self.metrics.pair_distance(*pair).float().cpu())
        return torch.cat(parts) if parts else torch.zeros(0)

    def classify(self, pictures: Pictures) -> Tensor:
        """Return the probability of each class, float32 (N, K), for files or images, uint8 (N, C, H, W).

        Raises:
            ValueError: if the model knows no classes, or a picture cannot be read, naming it.
        """
        if not self.classifies:
            raise ValueError(f"{self.path} is a {self.family}, which compares pictures and knows no classes of its own")
        return self._all(pictures).softmax(1)

    def _all(self, pictures: Pictures) -> Tensor:
        if isinstance(pictures, Tensor):
            return torch.cat([self.outputs(images) for images in pictures.split(self.batch_size)])
        parts = []
        for batch, outputs in self.batches(pictures):
            if batch.broken:
                raise ValueError(next(iter(batch.broken.values())))
            parts.append(outputs)
        return torch.cat(parts)
