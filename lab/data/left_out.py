"""Training images that a list says to leave out, such as those whose labels are suspected to be wrong."""

import csv
import hashlib
import logging
from pathlib import Path

import torch
from torch import Tensor

from lab.data.arrays import ImageArrays

_log = logging.getLogger(__name__)

COLUMNS = ("position", "label")


def leave_out(train: ImageArrays, path: Path) -> Tensor:
    """Return the positions of the training images that a list does not name, sorted.

    Args:
        train: all training images, as they are labelled.
        path: CSV file with the columns ``position``, among the training images from 0, and ``label``, the name of the class
            that the image is labelled as, by which a list of other images is known; and, where it has the column ``image``,
            by what ``fingerprint`` says of images of the same size.

    Raises:
        ValueError: if it is no such list, or not of these images.
    """
    if not path.is_file():
        raise ValueError(f"data.exclude: there is no file {path}")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
            named = [(int(row["position"]), row["label"], row.get("image")) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"data.exclude {path} must be a CSV file with the columns {' and '.join(COLUMNS)}") from error
    for line, (position, name, image) in enumerate(named, start=2):
        if not 0 <= position < len(train):
            raise ValueError(f"data.exclude {path}:{line} names image {position} of {len(train)} training images")
        if (label := train.class_names[int(train.labels[position])]) != name:
            raise ValueError(
                f"data.exclude {path}:{line} is not of these training images: image {position} is labelled {label!r} here and "
                f"{name!r} there. The seed, the label noise and what is joined must be those that the list was made with"
            )
        here = fingerprint(train[position][0]) if image else None
        if image and here is not None and here.partition(":")[0] == image.partition(":")[0] and here != image:
            raise ValueError(
                f"data.exclude {path}:{line} is not of these training images: image {position} is another one there. Images "
                "have come or gone since: make the list anew by scripts/clean.py"
            )
    kept = torch.ones(len(train), dtype=torch.bool)
    kept[torch.tensor([position for position, *_ in named], dtype=torch.int64)] = False
    if not kept.any():
        raise ValueError(f"data.exclude {path} names all {len(train)} training images")
    emptied = sorted(set(train.labels.tolist()) - set(train.labels[kept].tolist()))
    if emptied:
        names = ", ".join(train.class_names[label] for label in emptied)
        _log.warning(
            "warning: data.exclude %s leaves no training image that is labelled %s: make a shorter list by scripts/clean.py "
            "--num or --share, or one by a judge that is trained for longer",
            path,
            names,
        )
    return kept.nonzero().squeeze(1)


def fingerprint(image: Tensor) -> str:
    """Return what tells a uint8 image (C, H, W) from others: its shape, and a hash of its pixels."""
    pixels = hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()[:16]
    return f"{'x'.join(map(str, image.shape))}:{pixels}"
