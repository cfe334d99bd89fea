"""Data sets: every one yields batches ``(images, labels)``, float (N, C, H, W) on the device and int64 (N,)."""

from lab.data.array_file import Arrays
from lab.data.augmentation import Augmentation
from lab.data.cifar10 import CIFAR10
from lab.data.episodes import Episodes
from lab.data.folder import ImageFolder
from lab.data.folds import Folds
from lab.data.mnist import MNIST, FashionMNIST
from lab.data.module import ImageDataModule
from lab.data.omniglot import Omniglot
from lab.data.synthetic import Synthetic

__all__ = [
    "CIFAR10",
    "MNIST",
    "Arrays",
    "Augmentation",
    "Episodes",
    "FashionMNIST",
    "Folds",
    "ImageDataModule",
    "ImageFolder",
    "Omniglot",
    "Synthetic",
]
