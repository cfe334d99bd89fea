"""The folders of photographs that experiments read, drawn from Caltech-101 by a rule."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets import Caltech101

from lab.data.alone import alone_in
from lab.data.originals import download

SEED = 2021
COUNTS = {"train": 30, "val": 5, "test": 20, "extra": 10}  # pictures of each class in each part of caltech35
NUM_OF_FIVE = 100  # pictures of each class of caltech5
FIVE = ("airplanes", "Faces_easy", "Leopards", "Motorbikes", "watch")  # in the order in which they are drawn, after the 35
# How many pictures Caltech-101 has of each class of caltech35, in the order in which they are drawn.
NUM_PICTURES = {
    "Faces_easy": 435, "Leopards": 200, "Motorbikes": 798, "airplanes": 800, "bonsai": 128, "brain": 98, "buddha": 85,
    "butterfly": 91, "car_side": 123, "chandelier": 107, "cougar_face": 69, "crab": 73, "crayfish": 70, "dalmatian": 67,
    "dragonfly": 68, "electric_guitar": 75, "ewer": 85, "ferry": 67, "grand_piano": 99, "hawksbill": 100, "helicopter": 88,
    "ibis": 80, "kangaroo": 86, "ketch": 114, "laptop": 81, "llama": 78, "menorah": 87, "minaret": 76, "revolver": 82,
    "scorpion": 84, "starfish": 86, "sunflower": 85, "trilobite": 86, "umbrella": 75, "watch": 239,
}  # fmt: skip
BY_HAND = "unpack 101_ObjectCategories, of https://data.caltech.edu/records/mzrjq-6wc02, and name it by --original"


def make(root: Path, original: Path | None = None) -> dict[Path, bool]:
    """Make ``caltech35`` and ``caltech5`` below ``root``, but for what is there.

    Args:
        root: where they go.
        original: ``101_ObjectCategories``; None for looking below ``root`` and downloading it where it is not there.

    Returns:
        The folders, and whether they were made.

    Raises:
        ValueError: if the pictures cannot be downloaded, or are not those of Caltech-101.
    """
    folders = {root / name: pictures for name, pictures in chosen().items()}
    with alone_in(root / "caltech101"):
        missing = [folder for folder in folders if not folder.exists()]
        if missing:
            original = original or _downloaded(root)
            _check(original)
            for folder in missing:
                _copy(original, folder, folders[folder])
    return {folder: folder in missing for folder in folders}


def _downloaded(root: Path) -> Path:
    """Return where the original pictures are below ``root``, downloading them where they are not."""
    original = root / "caltech101" / "101_ObjectCategories"
    if not original.is_dir():
        download("Caltech-101", root, root / "caltech101", lambda: Caltech101(str(root), download=True), BY_HAND)
    return original


def chosen() -> dict[str, list[Path]]:
    """Return by folder the pictures in it, such as ``train/watch/image_0001.jpg``: the same ones on every machine."""
    generator = random.Random(SEED)

    def drawn(name: str) -> Iterator[str]:
        numbers = list(range(1, NUM_PICTURES[name] + 1))
        generator.shuffle(numbers)
        return (f"{name}/image_{number:04d}.jpg" for number in numbers)

    pictures: dict[str, list[Path]] = {"caltech35": [], "caltech5": []}
    for name in NUM_PICTURES:
        files = drawn(name)
        pictures["caltech35"] += [Path(part, next(files)) for part, num in COUNTS.items() for _ in range(num)]
    for name in FIVE:
        files = drawn(name)
        pictures["caltech5"] += [Path(next(files)) for _ in range(NUM_OF_FIVE)]
    return pictures


def _check(original: Path) -> None:
    """Make sure that the classes are those that the rule draws from."""
    for name, num in NUM_PICTURES.items():
        folder = original / name
        found = len(list(folder.glob("image_*.jpg")))
        if found != num:
            raise ValueError(f"{folder} has {found} pictures, not the {num} of Caltech-101: {BY_HAND}")


def _copy(original: Path, folder: Path, pictures: list[Path]) -> None:
    """Copy pictures into a folder, which is there only when it has all of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}_") as work:
        made = Path(work) / folder.name
        for picture in pictures:
            (made / picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original.joinpath(*picture.parts[-2:]), made / picture)
        made.rename(folder)
