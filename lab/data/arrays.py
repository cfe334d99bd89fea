"""The array store: one split of a small image set as one uint8 tensor, in one memory-mapped file."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from lab.data.views import Images, taken


class ImageArrays(Dataset[tuple[Tensor, Tensor]]):
    """Images and labels of one split, or a selection of its rows.

    Indexing with anything that indexes a tensor (an int, a slice, a tensor of positions) is one gather.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), each below ``len(class_names)``.
        class_names: name of each class, by label.
    """

    images: Images

    def __init__(self, images: Tensor, labels: Tensor, class_names: list[str]) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(images)},), not {labels.dtype} {tuple(labels.shape)}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
            raise ValueError(f"labels must be 0 to {len(class_names) - 1}, a class name each")
        self.images = images
        self.labels = labels
        self.class_names = class_names
        self.rows: Tensor | None = None  # positions in images; None for all, in order

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, Tensor]:
        rows = index if self.rows is None else taken(self.rows, index)
        return taken(self.images, rows), taken(self.labels, index)

    def select(self, positions: Tensor, labels: Tensor | None = None, class_names: list[str] | None = None) -> "ImageArrays":
        """Return the images at these positions (M,), in this order, without copying them; labels may be replaced."""
        rows = positions if self.rows is None else self.rows[positions]
        chosen = self.labels[positions] if labels is None else labels
        return self.of_rows(self.images, rows, chosen, self.class_names if class_names is None else class_names)

    @classmethod
    def of_rows(cls, images: Images, rows: Tensor | None, labels: Tensor, class_names: list[str]) -> "ImageArrays":
        """Return the images at rows (M,), or all (None), with labels (M,), without copying or checking them."""
        selection = cls.__new__(cls)
        selection.images, selection.rows, selection.labels, selection.class_names = images, rows, labels, class_names
        return selection

    def save(self, path: Path) -> None:
        """Write the split as one ``safetensors`` file; a file that exists is whole, whatever happens meanwhile."""
        path.parent.mkdir(parents=True, exist_ok=True)
        images = self[:][0]
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file(
                {"images": images.contiguous(), "labels": self.labels.contiguous()},
                unfinished,
                metadata={"class_names": json.dumps(self.class_names)},
            )
            unfinished.chmod(0o644)  # safetensors makes files that only their owner can read
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "ImageArrays":
        """Open a split; its images are read from disk as they are used.

        Raises:
            ValueError: if the file is not a store, naming it.
        """
        try:
            with safe_open(path, framework="pt") as file:
                class_names = json.loads((file.metadata() or {})["class_names"])
                return cls(file.get_tensor("images"), file.get_tensor("labels"), class_names)
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is not an image store ({error}); delete it to have it made again") from error
