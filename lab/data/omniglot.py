"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn once by 20 people."""

import os
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lab.data.alone import alone_in
from lab.data.alphabets import (
    NUM_CHARACTERS,
    alphabet_of,
    class_names_of,
    download_images,
    folder_of,
    hold_out_alphabets,
    read_images,
)
from lab.data.arrays import ImageArrays
from lab.data.batches import generator_for
from lab.data.module import ImageDataModule
from lab.data.originals import convert, open_stores
from lab.data.resize import resized
from lab.data.splits import keep_classes
from lab.data.trials import read_trials
from lab.data.views import Inverted, Turned


class Omniglot(ImageDataModule):
    """Characters: Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program induction", 2015.

    The splits share no alphabet: the 20 "evaluation" alphabets are for testing; of the 30 "background" ones some are held out
    for validation, the same ones whatever the seed, and the rest is trained on. Each split has class names of its own.

    Args:
        rotations: the training characters turned by 90, 180 and 270 degrees, counter-clockwise, are classes of their own,
            named ``Alphabet/character01 at 90`` and so on.
        num_validation_alphabets: how many alphabets to hold out.
        ink: ``light`` strokes, 255 on a ground of 0, or ``dark`` ones, 0 on 255, as in the original files.
        image_size: side in pixels to resize to, once, 28 to 105; None for the stored size, 105.
        trials: folder of the 400 official one-shot trials, ``all_runs.zip`` unpacked, to test on; None for
            ``root/omniglot_runs``, where there is one.
        options: those of every data set but ``validation_size``, see ``ImageDataModule``; ``classes`` are training classes.
    """

    stored_shape = (1, 105, 105)

    def __init__(
        self,
        rotations: bool = False,
        num_validation_alphabets: int = 5,
        ink: Literal["dark", "light"] = "light",
        image_size: int | None = 28,
        trials: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        num_alphabets = len(NUM_CHARACTERS["background"])
        if options.get("validation_size") is not None:
            raise ValueError("Omniglot holds out whole alphabets: set data.num_validation_alphabets, not data.validation_size")
        if not 1 <= num_validation_alphabets < num_alphabets:
            raise ValueError(f"data.num_validation_alphabets must be 1 to {num_alphabets - 1}, not {num_validation_alphabets}")
        if image_size is not None and not 28 <= image_size <= 105:
            raise ValueError(f"data.image_size of Omniglot must be 28 to 105, not {image_size}")
        if ink not in ("dark", "light"):
            raise ValueError(f"data.ink must be dark or light, not {ink!r}")
        self.rotations = rotations
        self.inverted = ink == "light"
        # The generator is fixed: whatever the seed, an alphabet that was validated on is never trained on.
        self.upright_class_names, self.validation_class_names = hold_out_alphabets(
            NUM_CHARACTERS["background"], num_validation_alphabets, generator_for("omniglot validation")
        )
        angles = ("", " at 90", " at 180", " at 270") if rotations else ("",)
        self.all_class_names = [name + angle for angle in angles for name in self.upright_class_names]
        super().__init__(image_size=image_size, **options)
        self.trials_folder = self.root / "omniglot_runs" if trials is None else Path(trials).expanduser()
        if trials is not None and not self.trials_folder.is_dir():
            raise ValueError(f"data.trials {self.trials_folder} is not a folder")

    def prepare_data(self) -> None:
        """Convert the original files to the store, downloading them where they are not there."""
        stores = self._stores()
        if all(path.exists() for path in stores.values()):
            return
        with alone_in(self.root / "omniglot"):
            for split, path in stores.items():
                if not path.exists() and not folder_of(self.root, split).is_dir():
                    download_images(self.root, split)
            convert(stores, partial(read_images, self.root))

    def read(self) -> dict[str, ImageArrays]:
        """Open the store, or read the original files where it could not be written, and part the alphabets."""
        class_names = {split: class_names_of(num_characters) for split, num_characters in NUM_CHARACTERS.items()}
        stored = open_stores(self._stores(), partial(read_images, self.root), class_names, self.stored_shape)
        if self.trials_folder.is_dir():
            trials = read_trials(self.trials_folder)
            self.trial_tasks = trials.support, trials.queries
            stored["trials"] = trials.images
        # Resized here, before there are four times as many.
        stored = {split: self._inked(resized(part, self.image_shape[1:])) for split, part in stored.items()}
        train = keep_classes(stored["background"], self.upright_class_names)
        return {
            "train": self._rotate(train) if self.rotations else train,
            "val": keep_classes(stored["background"], self.validation_class_names),
            "test": stored["evaluation"],
            **{name: stored[name] for name in ("trials",) if name in stored},
        }

    def groups(self, stage: str) -> tuple[str, Tensor]:
        """Return what the classes of ``val`` or ``test`` are grouped by, and the group of each class, int64 (C,)."""
        alphabets = alphabet_of(self.splits[stage].class_names)
        number = {alphabet: place for place, alphabet in enumerate(sorted(set(alphabets)))}
        return "alphabet", torch.tensor([number[alphabet] for alphabet in alphabets])

    def _inked(self, dark: ImageArrays) -> ImageArrays:
        """Return images of dark ink, as they are stored, with the ink asked for."""
        if not self.inverted:
            return dark
        return ImageArrays.of_rows(Inverted(dark.images), torch.arange(len(dark)), dark.labels, dark.class_names)

    def _stores(self) -> dict[str, Path]:
        return {split: self.root / "omniglot" / f"{split}.safetensors" for split in NUM_CHARACTERS}

    def _rotate(self, upright: ImageArrays) -> ImageArrays:
        """Add each image turned by 90, 180 and 270 degrees; the classes of an angle follow on those of the one before."""
        assert upright.rows is not None
        turns = torch.arange(4).unsqueeze(1)
        rows = (turns * upright.images.shape[0] + upright.rows).flatten()
        labels = (turns * len(upright.class_names) + upright.labels).flatten()
        return ImageArrays.of_rows(Turned(upright.images), rows, labels, self.all_class_names)
