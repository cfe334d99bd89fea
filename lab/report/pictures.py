"""Pictures as part of the page, made smaller where they are large."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

SHOWN_AT = 96 / 150  # CSS pixels of a pixel: figures have 150 an inch
LARGEST_SIDE = 2400
BUDGET = 2_800_000  # bytes of the pictures of one run: as text they take a third more
BUDGET_OF_ALL = 12_000_000
QUALITIES = (86, 72, 55, 40)


class Embedded(NamedTuple):
    """A picture as a data URI, and the size in CSS pixels that it is meant to be shown at."""

    uri: str
    width: int
    height: int


def embed(pictures: dict[str, bytes | Path], num_runs: int = 1) -> dict[str, Embedded | str]:
    """Embed the pictures of a run, by name, all together in a number of bytes; of one that cannot be read, say why.

    Each has an equal share; what small pictures leave of theirs goes to the larger ones.
    """
    budget = min(BUDGET, BUDGET_OF_ALL // num_runs)
    embedded: dict[str, Embedded | str] = {}
    contents: dict[str, bytes] = {}
    for name, source in pictures.items():
        try:
            contents[name] = source.read_bytes() if isinstance(source, Path) else source
        except OSError as error:
            embedded[name] = f"it cannot be read: {error.strerror}"
    for place, (name, content) in enumerate(sorted(contents.items(), key=lambda item: len(item[1]))):
        share = budget // (len(contents) - place)
        try:
            embedded[name] = _embedded(content, share)
        except Exception as error:  # of a broken file Pillow says so by nearly any kind of error
            embedded[name] = f"it cannot be read: {' '.join(str(error).split())}"
        else:
            budget -= len(embedded[name].uri) * 3 // 4  # type: ignore[union-attr]
    return {name: embedded[name] for name in pictures}


def _embedded(content: bytes, share: int) -> Embedded:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
        kind = str(image.format).lower()
        image.load()
        width, height = (round(side * SHOWN_AT) for side in image.size)
        if len(content) > share or max(image.size) > LARGEST_SIDE:
            kind, content = "webp", _smaller(image, share)
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", max(1, width), max(1, height))


def _smaller(image: Image.Image, share: int) -> bytes:
    """Return a picture as WebP in at most so many bytes, first with less quality, then with fewer pixels."""
    image = image.convert("RGB") if image.mode not in ("RGB", "RGBA") else image
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    while True:
        for quality in QUALITIES:
            file = io.BytesIO()
            image.save(file, "WEBP", quality=quality, method=4)
            if file.tell() <= share or max(image.size) <= 64:
                return file.getvalue()
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))
