"""Small models with thresholds set by hand, random pictures, and what the models give for them, computed without lab.apply."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lab.models import Classifier, Family, Siamese, SplitImage, Triplet, load
from lab.nets import MLP

Floats = npt.NDArray[np.float64]
SHAPE = (1, 8, 8)
MEAN, STD = 0.4, 0.25
THRESHOLD, SLOPE, OFFSET = 0.5, 2.0, 1.5
CLASSES = ["ant", "bee", "cat"]


def encoder(height: int = 8, embedding_size: int = 4) -> MLP:
    return MLP((1, height, 8), (16,), embedding_size)


def make(kind: str) -> Family:
    """Make an untrained model; the same one each time."""
    torch.manual_seed(0)
    if kind == "siamese":
        return Siamese(encoder())
    if kind == "cosine":
        return Siamese(encoder(), head="cosine", loss=None)
    if kind == "logistic":
        return Siamese(encoder(), head="logistic")
    if kind == "two_views":
        return Siamese(encoder(4), other_encoder=encoder(4), views="upper_lower")
    if kind == "logistic_two_views":
        return Siamese(encoder(4), other_encoder=encoder(4), views="upper_lower", head="logistic")
    if kind == "triplet":
        return Triplet(encoder())
    if kind == "classifier":
        return Classifier(encoder(), num_classes=3)
    assert kind == "split_image"
    return SplitImage(encoder(4), num_classes=3)


def save(model: Family, path: Path, threshold: float | None = THRESHOLD, shape: Sequence[int] = SHAPE) -> Path:
    """Save a model as a run would."""
    if threshold is not None and hasattr(model.metrics, "threshold"):
        for name, value in (("threshold", threshold), ("slope", SLOPE), ("offset", OFFSET)):
            getattr(model.metrics, name).fill_(value)
    preparation = {
        "class_names": CLASSES,
        "image_shape": list(shape),
        "mean": [MEAN] * shape[0],
        "std": [STD] * shape[0],
        "fit": "crop",
        "inverted": False,
    }
    hparams: dict[str, Any] = dict(model.hparams)
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": hparams, "preparation": preparation}, path)
    return path


def write_pictures(folder: Path, names: Sequence[str], seed: int = 0) -> list[Path]:
    """Write random grey pictures of 8 x 8 pixels."""
    random = np.random.default_rng(seed)
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return paths


def outputs(checkpoint: Path, paths: Sequence[Path]) -> Floats:
    """Return what a model gives for pictures, one at a time."""
    model = load(checkpoint)
    rows = []
    for path in paths:
        pixels = np.asarray(Image.open(path), dtype=np.float32)
        with torch.no_grad():
            rows.append(model(torch.from_numpy((pixels / 255 - MEAN) / STD)[None, None])[0].numpy())
    return np.stack(rows).astype(np.float64)


def distance(kind: str, checkpoint: Path, first: Floats, second: Floats) -> float:
    """Return the distance of two embeddings (D,) by its definition."""
    if kind.endswith("two_views"):
        first, second = first[:4], second[4:]
    if kind == "cosine":
        return float(1 - first @ second / np.sqrt((first @ first) * (second @ second)))
    if kind.startswith("logistic"):
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        weight, bias = state["head.layer.weight"].numpy()[0], state["head.layer.bias"].numpy()[0]
        return -float(weight @ np.abs(first - second) + bias)
    return float(np.sqrt(((first - second) ** 2).sum()))


def probability(value: float) -> float:
    return float(1 / (1 + np.exp(-(OFFSET - SLOPE * value))))
