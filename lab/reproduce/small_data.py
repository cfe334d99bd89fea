"""Small pictures in folders, made for short runs of the experiments on photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

NUM_CLASSES, SIDE = 5, 48
NUM_PICTURES = {"train": 12, "val": 4, "test": 6, "extra": 4}  # of each class
PARTED, WHOLE = "caltech35", "caltech5"  # with the folders of splits and without, called as the real ones


def make_pictures(root: Path) -> None:
    """Write pictures that differ by class into two folders below one, unless they are there: the same ones each time."""
    for name, splits in ((PARTED, NUM_PICTURES), (WHOLE, {"": sum(NUM_PICTURES.values())})):
        if (root / name).is_dir():
            continue
        generator = np.random.default_rng(0)
        patterns = generator.uniform(size=(NUM_CLASSES, 4, 4, 3))
        unfinished = root / f".{name}"
        for split, num in splits.items():
            for label, pattern in enumerate(patterns):
                folder = unfinished / split / f"class_{label}"
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(num):
                    pixels = (pattern + generator.normal(scale=0.15, size=pattern.shape)).clip(0, 1) * 255
                    picture = Image.fromarray(pixels.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                    picture.save(folder / f"{number}.png")
        unfinished.rename(root / name)
