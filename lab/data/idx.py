"""The store of MNIST and its look-alikes, made from their four original files in the IDX format."""

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from lab.data import originals
from lab.data.alone import alone_in
from lab.data.arrays import ImageArrays

FILE_PREFIX = {"train": "train", "test": "t10k"}
# The sets share their file names: the training labels, by SHA-256, tell whose they are.
LABELS_OF = {
    "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13": "MNIST",
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": "FashionMNIST",
}
Source = type[torchvision.datasets.MNIST]


def store_paths(source: Source, root: Path) -> dict[str, Path]:
    """Return where the converted splits lie: ``root/mnist/train.safetensors`` and so on."""
    return {split: root / source.__name__.lower() / f"{split}.safetensors" for split in FILE_PREFIX}


def convert(source: Source, root: Path, class_names: list[str]) -> None:
    """Make the store from the four original files, which are downloaded, checksums verified, where they are not there.

    Raises:
        ValueError: if they are not there and cannot be downloaded, naming the folder and what to put there.
    """
    stores = store_paths(source, root)
    if all(path.exists() for path in stores.values()):
        return
    with alone_in(root / source.__name__.lower()):
        if any(_original(source, root, name) is None for name in _file_names()):
            folder = root / source.__name__ / "raw"
            by_hand = (
                f"put {', '.join(name + '.gz' for name in _file_names())} from {source.mirrors[0]} into {folder}, or name the "
                "folder that holds them by --data.root"
            )
            originals.download(source.__name__, root, folder, lambda: source(os.fspath(root), download=True), by_hand)
        originals.convert(stores, lambda split: read_original(source, root, split, class_names))


def open_splits(source: Source, root: Path, class_names: list[str]) -> dict[str, ImageArrays]:
    """Open the store, or read the original files where it could not be written."""
    stores = store_paths(source, root)
    names = dict.fromkeys(stores, class_names)
    return originals.open_stores(stores, lambda split: read_original(source, root, split, class_names), names, (1, 28, 28))


def read_original(source: Source, root: Path, split: str, class_names: list[str]) -> ImageArrays:
    """Read the images and labels of one split from the original files, plain or gzipped."""
    names = [f"{FILE_PREFIX[split]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    images, labels = (torch.from_numpy(_read_idx(source, root, name)) for name in names)
    owner = LABELS_OF.get(hashlib.sha256(labels.numpy().tobytes()).hexdigest(), source.__name__)
    if owner != source.__name__:
        raise ValueError(
            f"{_original(source, root, names[1])} belongs to {owner}, not to {source.__name__}; name another data.root"
        )
    try:
        return ImageArrays(images.unsqueeze(1), labels.long(), class_names)
    except ValueError as error:
        path = _original(source, root, names[1])
        raise ValueError(f"{path} does not fit the images of {source.__name__}: {error}") from error


def _read_idx(source: Source, root: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read an array in the IDX format: a magic number, big-endian 32-bit sizes, bytes."""
    path = _original(source, root, name)
    if path is None:
        raise ValueError(f"{source.__name__} is not in {root}: call prepare_data() of the data set first")
    num_dimensions = int(name[-7])  # train-images-idx3-ubyte
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            magic, *sizes = struct.unpack(f">{1 + num_dimensions}I", file.read(4 + 4 * num_dimensions))
            pixels = np.frombuffer(bytearray(file.read()), np.uint8)
        if magic != 0x800 + num_dimensions:
            raise ValueError(f"it starts with {magic}")
        return pixels.reshape(sizes)
    except (OSError, EOFError, struct.error, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is not a whole {source.__name__} file ({error}); delete it or bring it again") from error


def _file_names() -> list[str]:
    return [f"{prefix}-{kind}-ubyte" for prefix in FILE_PREFIX.values() for kind in ("images-idx3", "labels-idx1")]


def _original(source: Source, root: Path, name: str) -> Path | None:
    """Find an original file in torchvision's folder or in the root itself, plain or gzipped."""
    folders = (root / source.__name__ / "raw", root)
    paths = (folder / (name + ending) for folder in folders for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)
