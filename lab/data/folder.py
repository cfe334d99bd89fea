"""A folder of one's own pictures, decoded once."""

import logging
import os
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from lab.data.arrays import ImageArrays
from lab.data.held_out import check_test_size, hold_out_by_name
from lab.data.layout import find_classes, list_pictures
from lab.data.leaks import leaks
from lab.data.module import ImageDataModule
from lab.data.picture_cache import Entry, digest, find_or_make
from lab.data.pictures import Fit

log = logging.getLogger(__name__)


class ImageFolder(ImageDataModule):
    """Pictures in folders, one folder a class, named after it; files in folders within these belong to the class too.

    The class folders lie in ``train``, ``val``, ``test`` and ``extra``, or in the folder itself. ``val`` and ``extra`` may be
    missing. Where there is no ``test``, a part of the training pictures is held out, chosen by the names of the files.

    The pictures are decoded and resized once, into a file beside them, in ``.lab_cache`` (below ``root`` where their folder
    cannot be written), which is made anew when a picture comes, goes or changes.

    Args:
        folder: the folder, or several: their classes are united and their splits joined, train to train, test to test. Where
            none has a ``test``, test pictures are held out of the first one's alone.
        image_size: side in pixels of the square that every picture becomes.
        fit: ``crop`` cuts off the ends of the longer side, ``squash`` changes the shape, ``pad`` puts black beside the picture.
        channels: 3 for colour, 1 for grey.
        test_size: pictures to test on where there is no ``test``, a number or a share of them, as many of each class in
            proportion, the same ones whatever the seed.
        options: those of every data set, see ``ImageDataModule``.
    """

    def __init__(
        self,
        folder: list[str | os.PathLike[str]] | str | os.PathLike[str],
        image_size: int = 64,
        fit: Fit = "crop",
        channels: Literal[1, 3] = 3,
        test_size: int | float = 0.2,
        **options: Any,
    ) -> None:
        if image_size < 1 or fit not in get_args(Fit) or channels not in (1, 3):
            raise ValueError(
                f"data.image_size must be positive, data.fit one of {', '.join(get_args(Fit))} and data.channels 1 or 3, "
                f"not {image_size}, {fit} and {channels}"
            )
        check_test_size(test_size)
        self.folders = [Path(path).expanduser() for path in (folder if isinstance(folder, list) else [folder])]
        self._class_folders = [find_classes(path) for path in self.folders]
        self.all_class_names = self._unite_classes()
        self.stored_shape = (channels, image_size, image_size)
        super().__init__(**options)
        self.fit = fit
        self.test_size = test_size

    def _unite_classes(self) -> list[str]:
        if len({path.resolve() for path in self.folders}) < max(1, len(self.folders)):
            raise ValueError(f"data.folder must name folders, each once, not {[str(path) for path in self.folders]}")
        names = {name for splits in self._class_folders for name in splits["train"]}
        for splits in self._class_folders:
            for split, classes in splits.items():
                for name, path in classes.items():
                    if name not in names:
                        raise ValueError(f"{path} is a class of {split} that train does not have")
        if len(names) < 2:
            raise ValueError(f"data.folder {self.folders[0]} has one class, {min(names)}; two are needed")
        return sorted(names)

    def prepare_data(self) -> None:
        """Decode the pictures, where they are not in the stores yet."""
        splits = self._list()
        self._test_positions(splits)  # what is wrong with test_size is said before the long work
        for split, entries in splits.items():
            self._store(split, entries)

    def read(self) -> dict[str, ImageArrays]:
        """Open the stores of the splits there are, and where there is no ``test``, hold it out of ``train``."""
        listed = self._list()
        test_positions = self._test_positions(listed)
        splits = {split: ImageArrays.load(self._store(split, entries)) for split, entries in listed.items()}
        paths = {split: [entry.file.path for entry in entries] for split, entries in listed.items()}
        self._files = [(arrays.images, paths[split]) for split, arrays in splits.items()]
        if test_positions is not None:
            is_test = torch.zeros(len(splits["train"]), dtype=torch.bool)
            is_test[test_positions] = True
            for split, chosen in {"test": is_test, "train": ~is_test}.items():
                positions = chosen.nonzero().squeeze(1)
                splits[split] = splits["train"].select(positions)
                paths[split] = [paths["train"][position] for position in positions.tolist()]
        if self.trainer is None or self.trainer.is_global_zero:
            for leak in leaks(splits, paths, trained_on=["train", *(split for split in self.join if split in splits)]):
                log.warning("warning: %s", leak)
        return splits

    def test_pictures(self) -> list[tuple[Path, str]]:
        """Return the file and the class of each picture to test on."""
        listed = self._list()
        positions = self._test_positions(listed)
        entries = listed["test"] if positions is None else [listed["train"][place] for place in sorted(positions)]
        chosen = [(entry.file.path.absolute(), self.all_class_names[entry.label]) for entry in entries]
        return [(path, name) for path, name in chosen if name in self.class_names]

    def training_pictures(self) -> list[Path]:
        """Return the file of each training image, in their order, after ``setup``."""
        train = self.splits["train"]
        stores = getattr(train.images, "parts", [train.images])
        files = [path for store in stores for images, paths in self._files if images is store for path in paths]
        return [files[row].absolute() for row in (range(len(files)) if train.rows is None else train.rows.tolist())]

    def _list(self) -> dict[str, list[Entry]]:
        """Return the pictures of each split, by folder, class and name."""
        listed: dict[str, list[Entry]] = {}
        for number, splits in enumerate(self._class_folders):
            for split, classes in splits.items():
                for name, path in classes.items():
                    pictures = list_pictures(path)
                    if split == "train" and not pictures:
                        raise ValueError(f"{path} has no pictures in it; put some there, or remove it")
                    label = self.all_class_names.index(name)
                    listed.setdefault(split, []).extend(Entry(number, label, picture) for picture in pictures)
        for split, entries in listed.items():
            if not entries:
                raise ValueError(f"{self.folders[0] / split} has no pictures in it; put some there, or remove it")
        return listed

    def _test_positions(self, listed: dict[str, list[Entry]]) -> list[int] | None:
        """Return which training pictures are for testing; None where these have folders of their own."""
        if "test" in listed:
            return None
        firsts = [entry for entry in listed["train"] if entry.folder == 0]  # which come first
        names, labels = [entry.file.name for entry in firsts], [entry.label for entry in firsts]
        return hold_out_by_name(names, labels, self.all_class_names, self.test_size)

    def _store(self, split: str, entries: list[Entry]) -> Path:
        channels, size, _ = self.stored_shape
        places = [self.folders[0] / ".lab_cache", self.root / "folders" / digest(self.folders[0].resolve())]
        others = [path.resolve() for path in self.folders[1:]]
        kind = f"{split}-with-{digest(*others)}" if others else split
        return find_or_make(places, kind, entries, self.all_class_names, size, self.fit, channels)
