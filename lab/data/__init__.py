"""Data sets: every one yields batches ``(images, labels)``, float (N, C, H, W) on the device and int64 (N,)."""

from lab.data.augmentation import Augmentation
from lab.data.mnist import MNIST, FashionMNIST
from lab.data.module import ImageDataModule
from lab.data.synthetic import Synthetic

__all__ = ["MNIST", "Augmentation", "FashionMNIST", "ImageDataModule", "Synthetic"]
