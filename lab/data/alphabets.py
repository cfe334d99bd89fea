"""The original files of Omniglot: which alphabets there are, their images, and where they come from."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.datasets.utils import download_and_extract_archive

from lab.data.arrays import ImageArrays
from lab.data.originals import download

NUM_DRAWERS = 20
# fmt: off
NUM_CHARACTERS = {
    "background": {
        "Alphabet_of_the_Magi": 20, "Anglo-Saxon_Futhorc": 29, "Arcadian": 26, "Armenian": 41, "Asomtavruli_(Georgian)": 40,
        "Balinese": 24, "Bengali": 46, "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14, "Braille": 26, "Burmese_(Myanmar)": 34,
        "Cyrillic": 33, "Early_Aramaic": 22, "Futurama": 26, "Grantha": 43, "Greek": 24, "Gujarati": 48, "Hebrew": 22,
        "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16, "Japanese_(hiragana)": 52, "Japanese_(katakana)": 47, "Korean": 40,
        "Latin": 26, "Malay_(Jawi_-_Arabic)": 40, "Mkhedruli_(Georgian)": 41, "N_Ko": 33,
        "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit": 42, "Syriac_(Estrangelo)": 23, "Tagalog": 17, "Tifinagh": 55,
    },
    "evaluation": {
        "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26, "Ge_ez": 26, "Glagolitic": 45,
        "Gurmukhi": 45, "Kannada": 41, "Keble": 26, "Malayalam": 47, "Manipuri": 40, "Mongolian": 30,
        "Old_Church_Slavonic_(Cyrillic)": 45, "Oriya": 46, "Sylheti": 28, "Syriac_(Serto)": 23, "Tengwar": 25, "Tibetan": 42,
        "ULOG": 26,
    },
}
# fmt: on


def class_names_of(num_characters: dict[str, int]) -> list[str]:
    """Return the name of every character, ``Alphabet/character01`` and so on, sorted."""
    return sorted(f"{alphabet}/character{i:02d}" for alphabet, num in num_characters.items() for i in range(1, num + 1))


def alphabet_of(class_names: list[str]) -> list[str]:
    """Return the alphabet that each class belongs to."""
    return [name.partition("/")[0] for name in class_names]


def hold_out_alphabets(num_characters: dict[str, int], num: int, generator: torch.Generator) -> tuple[list[str], list[str]]:
    """Draw so many of these alphabets, and return the class names of the others and those of the drawn."""
    alphabets = sorted(num_characters)
    drawn = {alphabets[i] for i in torch.randperm(len(alphabets), generator=generator)[:num].tolist()}
    kept = {alphabet: num_characters[alphabet] for alphabet in alphabets if alphabet not in drawn}
    return class_names_of(kept), class_names_of({alphabet: num_characters[alphabet] for alphabet in drawn})


def folder_of(root: Path, split: str) -> Path:
    """Return where the images of ``background`` or ``evaluation`` lie: in the folder that torchvision unpacks them to."""
    return Path(root, torchvision.datasets.Omniglot.folder, f"images_{split}")


def read_images(root: Path, split: str) -> ImageArrays:
    """Read every image of ``background`` or ``evaluation`` as it is: 0 where there is ink, else 255."""
    folder, class_names = folder_of(root, split), class_names_of(NUM_CHARACTERS[split])
    if not folder.is_dir():
        raise ValueError(f"Omniglot is not in {root}: call prepare_data() of the data set first")
    paths = sorted(folder.glob("*/character*/[0-9]*.png"), key=Path.as_posix)
    num_found = Counter(f"{path.parent.parent.name}/{path.parent.name}" for path in paths)
    for name in [*class_names, *num_found]:
        wanted = NUM_DRAWERS if name in class_names else 0
        if num_found[name] != wanted:
            raise ValueError(f"{folder} has {num_found[name]} images of {name}, not {wanted}; delete it or bring it again")
    images = torch.from_numpy(np.stack([read_drawing(path) for path in paths])).unsqueeze(1)
    return ImageArrays(images, torch.arange(len(class_names)).repeat_interleave(NUM_DRAWERS), class_names)


def read_drawing(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read one image as it is, uint8 (105, 105).

    Raises:
        ValueError: naming the file, if it is not whole or not of that size.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.size != (105, 105):
                raise ValueError(f"it is {image.width}x{image.height}")
            return np.array(image.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is not a whole image of 105x105 pixels ({error}); delete it or bring it again") from error


def download_images(root: Path, split: str) -> None:
    """Download and unpack the images of ``background`` or ``evaluation``, if its zip file is not there already."""
    source, folder = torchvision.datasets.Omniglot, folder_of(root, split)
    url, md5 = f"{source.download_url_prefix}/{folder.name}.zip", source.zips_md5[folder.name]
    download(
        "Omniglot",
        root,
        folder.parent,
        # What torchvision's own download() does, but that a zip file which was put there by hand is unpacked as well.
        lambda: download_and_extract_archive(url, str(folder.parent), md5=md5),
        f"put images_background.zip and images_evaluation.zip from {source.download_url_prefix} into {folder.parent}, or "
        "name the folder that holds omniglot-py by --data.root",
    )
