"""The data that is timed on, made of what comes with this codebase, so that every machine has the same."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab.benchmark.cases import NUM_CLASSES, SIDE

NUM_DIGITS = {"train": 60_000, "t10k": 10_000}
KINDS = ("images-idx3", "labels-idx1")
NUM_PICTURES = 30  # of each class, to train on
PICTURE_SIZE = (300, 200)  # as photographs in Caltech-101 are


def make_data(root: Path) -> None:
    """Write digits, as MNIST's own files, and a folder of pictures below ``root``: the bundled digits, again and again."""
    _make_digits(root)
    _make_pictures(root / "pictures")


def digits(root: Path) -> tuple[Tensor, Tensor]:
    """Read 60,000 images (N, 1, 28, 28), uint8, and labels (N,)."""
    images, labels = (np.fromfile(_file(root, "train", kind), dtype=np.uint8) for kind in KINDS)
    return torch.from_numpy(images[16:]).view(-1, 1, 28, 28), torch.from_numpy(labels[8:]).long()


def _file(root: Path, split: str, kind: str) -> Path:
    return root / "MNIST" / "raw" / f"{split}-{kind}-ubyte"


def _make_digits(root: Path) -> None:
    from lab.data import MNIST

    data = MNIST(bundled=True)
    data.setup()
    arrays = data.splits["train"]
    for split, num in NUM_DIGITS.items():
        images, labels = arrays[torch.arange(num) % len(arrays)]
        for kind, array in zip(KINDS, (images[:, 0].numpy(), labels.numpy().astype(np.uint8)), strict=True):
            # The format of MNIST's files: two zeros, the type, the number of dimensions, their sizes, the bytes.
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
            file = _file(root, split, kind)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(head + array.tobytes())


def _make_pictures(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for split, num in (("train", NUM_PICTURES), ("val", 1), ("test", 1)):
        for label in range(NUM_CLASSES["pictures"]):
            inside = folder / split / f"class_{label:02d}"
            inside.mkdir(parents=True)
            for number in range(num):
                coarse = Image.fromarray(generator.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8))
                coarse.resize(PICTURE_SIZE, Image.Resampling.BICUBIC).save(inside / f"{number}.jpg", quality=90)
