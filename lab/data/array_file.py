"""Arrays of one's own, from a file of NumPy or safetensors."""

import os
from pathlib import Path
from typing import Any

from lab.data.array_contents import name_classes, number_labels, read_contents, read_images
from lab.data.arrays import ImageArrays
from lab.data.batches import generator_for
from lab.data.held_out import check_test_size, num_to_hold_out
from lab.data.module import ImageDataModule
from lab.data.splits import stratified_split

SPLITS = ("train", "val", "test")


class Arrays(ImageDataModule):
    """Images and labels in a ``.safetensors`` file or an ``.npz`` file.

    Such a file holds ``images``, uint8 N x H x W, N x H x W x C or N x C x H x W, C being 1 or 3, and ``labels``, N integers.
    It may hold ``class_names`` (a list of texts, in a ``.safetensors`` file as JSON in the metadata), and ``split``, N
    numbers: 0 to train on an image, 1 to validate, 2 to test. Where nothing is said to be for testing, a part is held out.

    Args:
        path: the file.
        test_path: another file, all of it to test on.
        test_size: images to test on where neither says which, a number or a share of them, as many of each class in
            proportion, the same ones whatever the seed.
        options: those of every data set, see ``ImageDataModule``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        test_path: str | os.PathLike[str] | None = None,
        test_size: int | float = 0.2,
        **options: Any,
    ) -> None:
        check_test_size(test_size)
        self.path = Path(path).expanduser()
        self.test_path = None if test_path is None else Path(test_path).expanduser()
        self.test_size = test_size
        contents = read_contents(self.path)
        self.stored_shape = contents.image_shape
        values, self.all_class_names = name_classes(contents, self.path)
        self._labels = {self.path: number_labels(contents.labels, values, self.path)}
        self._positions = {name: (contents.split == i).nonzero().squeeze(1) for i, name in enumerate(SPLITS)}
        if self.test_path is not None:
            theirs = read_contents(self.test_path)
            if theirs.image_shape != self.stored_shape:
                raise ValueError(f"{self.test_path} has images {theirs.image_shape}, {self.path} has {self.stored_shape}")
            if len(self._positions["test"]) or self.test_path.resolve() == self.path.resolve():
                raise ValueError(f"{self.path} has test images of its own; leave data.test_path {self.test_path} out")
            self._labels[self.test_path] = number_labels(theirs.labels, values, self.test_path)
        super().__init__(**options)

    def read(self) -> dict[str, ImageArrays]:
        """Open the files; the images of a ``.safetensors`` file are read from disk as they are used."""
        every = self._open(self.path)
        positions = dict(self._positions)
        splits = {name: every.select(chosen) for name, chosen in positions.items() if len(chosen)}
        if self.test_path is not None:
            splits["test"] = self._open(self.test_path)
        if "test" not in splits:
            train = splits["train"]
            num = num_to_hold_out(self.test_size, len(train))
            kept, held_out = stratified_split(train.labels, num, generator_for("test split"))
            splits["train"], splits["test"] = train.select(kept), train.select(held_out)
        return splits

    def _open(self, path: Path) -> ImageArrays:
        images = read_images(path)
        if images.ndim == 3:
            images = images.unsqueeze(1)
        elif tuple(images.shape[1:]) != self.stored_shape:
            images = images.permute(0, 3, 1, 2)  # a view: the file is not read for it
        return ImageArrays(images, self._labels[path], self.all_class_names)
