"""CIFAR-10: 32x32 colour photographs of ten classes, 50,000 to train on and 10,000 to test."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torchvision.datasets.utils import check_integrity

from lab.data.alone import alone_in
from lab.data.arrays import ImageArrays
from lab.data.module import ImageDataModule
from lab.data.originals import convert, download, open_stores

IMAGES_A_FILE = 10_000
BINARY_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
BINARY_FOLDERS = ("cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar10", ".")


class CIFAR10(ImageDataModule):
    """Photographs of animals and vehicles: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Looked for below ``root`` as the store of an earlier run, as the "binary version" (six ``.bin`` files), as the "python
    version" that torchvision keeps (pickles, opened only if their checksums are those published), and then downloaded.

    Args:
        options: those of every data set, see ``ImageDataModule``.
    """

    all_class_names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    stored_shape = (3, 32, 32)
    default_validation_size = 1_000

    def prepare_data(self) -> None:
        """Convert the original files to the store, downloading them where they are not there."""
        stores = self._stores()
        if all(path.exists() for path in stores.values()):
            return
        with alone_in(self.root / "cifar10"):
            if self._binary_folder() is None and not self._pickles_are_genuine():
                self._download()
            convert(stores, self.read_original)

    def read(self) -> dict[str, ImageArrays]:
        """Open the store, or read the original files where it could not be written."""
        names = dict.fromkeys(BINARY_FILES, self.all_class_names)
        return open_stores(self._stores(), self.read_original, names, self.stored_shape)

    def read_original(self, split: str) -> ImageArrays:
        """Read the images and labels of one split from the original files."""
        folder = self._binary_folder()
        if folder is not None:
            records = np.concatenate([self._read_binary(folder / name) for name in BINARY_FILES[split]])
            images, labels = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32)), torch.from_numpy(records[:, 0]).long()
            return ImageArrays(images, labels, self.all_class_names)
        if not self._pickles_are_genuine():
            raise ValueError(f"CIFAR-10 is not in {self.root}: call prepare_data() of the data set first")
        with warnings.catch_warnings():  # the pickles are of a NumPy of 2009
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            source = torchvision.datasets.CIFAR10(os.fspath(self._pickle_root()), train=split == "train")
        images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
        return ImageArrays(images, torch.tensor(source.targets), self.all_class_names)

    def _stores(self) -> dict[str, Path]:
        return {split: self.root / "cifar10" / f"{split}.safetensors" for split in BINARY_FILES}

    def _binary_folder(self) -> Path | None:
        """Find a folder that holds all six files of the binary version."""
        names = [name for names in BINARY_FILES.values() for name in names]
        folders = (self.root / folder for folder in BINARY_FOLDERS)
        return next((folder for folder in folders if all((folder / name).is_file() for name in names)), None)

    def _read_binary(self, path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Read a file of records, each the byte of a label and 3 x 32 x 32 pixels, (N, 1 + 3072)."""
        size = IMAGES_A_FILE * (1 + 3 * 32 * 32)
        try:
            if path.stat().st_size != size:
                raise ValueError(f"it has {path.stat().st_size} bytes, not {size}")
            records = np.fromfile(path, np.uint8).reshape(IMAGES_A_FILE, -1)
            if records[:, 0].max() > 9:
                raise ValueError(f"it has a label {records[:, 0].max()}, above 9")
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is not a whole CIFAR-10 file ({error}); delete it or bring it again") from error
        return records

    def _pickle_root(self) -> Path:
        """Return the folder below which torchvision's own folder lies, or will."""
        lies_lower = (self.root / "cifar10" / torchvision.datasets.CIFAR10.base_folder).is_dir()
        return self.root / "cifar10" if lies_lower else self.root

    def _pickles_are_genuine(self) -> bool:
        source = torchvision.datasets.CIFAR10
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        return all(check_integrity(self._pickle_root() / source.base_folder / name, md5) for name, md5 in files)

    def _download(self) -> None:
        source, folder = torchvision.datasets.CIFAR10, self._pickle_root()
        rejected = (folder / source.base_folder).exists()
        download(
            "CIFAR-10",
            self.root,
            folder,
            lambda: source(os.fspath(folder), train=False, download=True),
            (f"{folder / source.base_folder} is not as it was published, so it is not opened; " if rejected else "")
            + f"put {source.filename} from {source.url} into {folder}, or the six .bin files of the binary version into "
            f"{self.root / BINARY_FOLDERS[0]}, or name the folder that holds them by --data.root",
        )
