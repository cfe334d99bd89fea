"""A figure on which everything has its place in inches: pictures and boxes keep their size however many there are."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from lab.plots.inputs import Floats, Values, floats
from lab.plots.lettering import fitted
from lab.plots.style import GREY, TEXT

MARGIN = 0.15
LINE = 1.35 / 72  # height in inches of a line of text for each point of its size
NARROWEST = 3.2
STRETCHED = 4.0  # the ratio of the sides from which a picture is shown less long than it is


def new_sheet(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Make a figure with a title above an area of a size in inches, in which x goes right and y down, from 0."""
    whole = max(width, NARROWEST) + 2 * MARGIN
    text = fitted(title, whole - 2 * MARGIN, TEXT + 1, lines=4)
    above = MARGIN + (text.count("\n") + 1) * LINE * (TEXT + 1) + 0.08 if text else MARGIN
    figure = Figure(figsize=(whole, above + height + MARGIN), facecolor="white")
    figure.set_layout_engine("none")  # all places are known
    axes = figure.add_axes((0, 0, 1, 1))
    left = (whole - width) / 2
    axes.set_xlim(-left, whole - left)
    axes.set_ylim(height + MARGIN, -above)
    axes.set_autoscale_on(False)
    axes.axis("off")
    axes.set_title("")
    if text:
        axes.text(width / 2, MARGIN - above, text, ha="center", va="top", fontsize=TEXT + 1, linespacing=1.2)
    return figure, axes


def empty_sheet(title: str, message: str) -> Figure:
    """Make a figure that says why there is nothing to see."""
    figure, axes = new_sheet(NARROWEST, 0.8, title)
    axes.text(NARROWEST / 2, 0.4, fitted(message, NARROWEST, TEXT, lines=3), ha="center", va="center", fontsize=TEXT)
    return figure


def size_on_sheet(shape: tuple[int, ...], side: float) -> tuple[float, float]:
    """Return the width and height in inches of a picture (..., H, W) whose longer side has a length in inches."""
    ratio = float(np.clip(shape[-1] / max(1, shape[-2]), 1 / STRETCHED, STRETCHED))
    return (side, side / ratio) if ratio > 1 else (side * ratio, side)


def put(axes: Axes, picture: Floats, left: float, top: float, side: float, **look: Any) -> AxesImage:
    """Draw a picture (H, W) or (H, W, 3) with its longer side as given, in the middle of the side across."""
    wide, high = size_on_sheet(picture.shape[:2], side)
    left += (side - wide) / 2
    return axes.imshow(picture, extent=(left, left + wide, top + high, top), aspect="auto", interpolation="antialiased", **look)


def put_framed(axes: Axes, picture: Floats, left: float, top: float, side: float) -> None:
    """Draw a picture with a thin line around it, as many are white or black at their edges."""
    west, east, south, north = put(axes, picture, left, top, side, vmin=0, vmax=1, cmap="gray").get_extent()
    axes.add_patch(Rectangle((west, north), east - west, south - north, fill=False, edgecolor=GREY, linewidth=0.5))


def as_batch(images: Values) -> Floats:
    """Return images (N, C, H, W) as float32; (N, H, W) are taken to have one channel."""
    batch = floats(images)
    return batch[:, None] if batch.ndim == 3 else batch


def range_of(*batches: Floats) -> tuple[float, float]:
    """Return the lowest and the highest finite value of all images; 0 and 1 where there is none."""
    finite = [batch[np.isfinite(batch)] for batch in batches]
    values = np.concatenate([*finite, np.zeros(0, dtype=np.float32)])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (0.0, 1.0) if 0 <= low < 0.1 and 0.9 < high <= 1 else (low, high)  # pictures in their own range


def for_display(images: Floats, limits: tuple[float, float]) -> Floats:
    """Map images (N, C, H, W) to [0, 1], the limits becoming 0 and 1; what is not finite becomes 0.

    Returns:
        (N, H, W, 3), three channels being colours, or (N, H, W): one channel as it is, of others their mean.
    """
    low, high = limits
    middle = np.full(images.shape, 0.5) if high <= low else (images.astype(np.float64) - low) / (high - low)
    shown = np.nan_to_num(middle, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1).astype(np.float32)
    if images.shape[1] == 3:
        return shown.transpose(0, 2, 3, 1)
    return shown.mean(1) if images.shape[1] > 0 else np.zeros((len(images), *images.shape[2:]), dtype=np.float32)


def range_note(limits: tuple[float, float], images: Floats) -> str:
    """Return what a title says of how images are shown."""
    channels = images.shape[1]
    mean = "" if channels in (1, 3) else f", the mean of {channels} channels"
    broken = "" if np.isfinite(images).all() else ", values that are not finite in black or white"
    scale = f"black is {limits[0]:.3g}, white {limits[1]:.3g}" if limits[0] < limits[1] else f"all values are {limits[0]:.3g}"
    return f"{scale}{mean}{broken}"
