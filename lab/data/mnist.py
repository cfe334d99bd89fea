"""MNIST and Fashion-MNIST: 28x28 grey images of ten classes, 60,000 to train on and 10,000 to test."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from lab.data.arrays import ImageArrays
from lab.data.idx import convert, open_splits
from lab.data.module import ImageDataModule

BUNDLED_FILE = Path(__file__).parent / "bundled" / "mnist_5000.npz"


class MNIST(ImageDataModule):
    """Handwritten digits: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.

    Args:
        bundled: use the 5,000 digits that come with this package (4,000 to train, 500 to validate, 500 to test; see
            ``lab/data/bundled/README.md``) instead of all 70,000.
        options: those of every data set, see ``ImageDataModule``.
    """

    all_class_names = [str(digit) for digit in range(10)]
    stored_shape = (1, 28, 28)
    default_validation_size = 5_000

    def __init__(self, bundled: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.bundled = bundled

    def prepare_data(self) -> None:
        """Convert the original files to the store, downloading them where they are not there."""
        if not self.bundled:
            convert(torchvision.datasets.MNIST, self.root, self.all_class_names)

    def read(self) -> dict[str, ImageArrays]:
        """Open the bundled digits, or the store."""
        if not self.bundled:
            return open_splits(torchvision.datasets.MNIST, self.root, self.all_class_names)
        with np.load(BUNDLED_FILE) as file:
            images, labels = torch.from_numpy(file["images"]).unsqueeze(1), torch.from_numpy(file["labels"]).long()
            split = torch.from_numpy(file["split"])
        every = ImageArrays(images, labels, self.all_class_names)
        return {name: every.select((split == i).nonzero().squeeze(1)) for i, name in enumerate(("train", "val", "test"))}


class FashionMNIST(ImageDataModule):
    """Pictures of clothes: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking", 2017.

    Args:
        options: those of every data set, see ``ImageDataModule``.
    """

    all_class_names = torchvision.datasets.FashionMNIST.classes
    stored_shape = (1, 28, 28)
    default_validation_size = 5_000

    def prepare_data(self) -> None:
        """Convert the original files to the store, downloading them where they are not there."""
        convert(torchvision.datasets.FashionMNIST, self.root, self.all_class_names)

    def read(self) -> dict[str, ImageArrays]:
        """Open the store."""
        return open_splits(torchvision.datasets.FashionMNIST, self.root, self.all_class_names)
