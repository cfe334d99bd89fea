"""A file that holds a picture, decoded safely to an array."""

import contextlib
import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

Fit = Literal["crop", "squash", "pad"]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # of Pillow's many, those that only ever hold pixels
ENDINGS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]  # in small letters
)
MAX_PIXELS = 100_000_000

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    path: str | os.PathLike[str],
    size: int | tuple[int, int],
    fit: Fit = "crop",
    channels: int = 3,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Return the picture in a file, turned upright, as uint8 (channels, height, width); of an animated one, the first frame.

    Args:
        path: a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM file.
        size: side in pixels, or height and width, to resize to, bilinear, each pixel a mean over what it covers.
        fit: ``crop`` cuts off the ends of the longer side, ``squash`` changes the shape, ``pad`` puts black beside the picture.
        channels: 3 for red, green and blue, 1 for grey. What is transparent is put on white.
        max_pixels: a larger picture is refused before it is decoded.

    Raises:
        ValueError: if the file is not such a picture, or not a whole one, in one line that begins with its path.
    """
    height, width = (size, size) if isinstance(size, int) else size
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ValueError(
                    f"it has {image.width} x {image.height} pixels, more than the {max_pixels:,} allowed: make it smaller"
                )
            # A JPEG far too large is decoded at a half, a quarter or an eighth, but never below twice the size.
            image.draft(None, (2 * max(height, width), 2 * max(height, width)))
            image.load()
            array = np.array(_fit(_convert(_turn_upright(image), "L" if channels == 1 else "RGB"), (width, height), fit))
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{os.fspath(path)} cannot be read: it has more pixels than the {max_pixels:,} allowed: make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        empty = Path(path).stat().st_size == 0
        reason = "it is empty" if empty else "it is no JPEG, PNG, BMP, GIF, WebP, TIFF or PPM file, or its beginning is broken"
        raise ValueError(f"{os.fspath(path)} cannot be read: {reason}") from error
    except Exception as error:  # of a broken file Pillow says so by nearly any kind of error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{os.fspath(path)} cannot be read: {' '.join(reason.split())}") from error
    return torch.from_numpy(array).view(height, width, channels).permute(2, 0, 1).contiguous()


def _turn_upright(image: Image.Image) -> Image.Image:
    orientation = None
    with contextlib.suppress(Exception):  # notes of a camera that cannot be read make no broken picture
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """Bring a picture of any kind to 8 bits of grey (``L``) or colour (``RGB``); 16 bits are scaled by their whole range."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64 if image.mode == "I" else np.int32)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError("its pixels have 32 bits; save it with 8 or 16")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 is 255 * 257
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _fit(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Bring a picture to a width and a height."""
    if fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    if fit == "squash":
        return image.resize(size, Image.Resampling.BILINEAR)
    share = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(side * share)) for side in image.size)
    padded = Image.new(image.mode, size)
    padded.paste(image.resize((width, height), Image.Resampling.BILINEAR), ((size[0] - width) // 2, (size[1] - height) // 2))
    return padded
