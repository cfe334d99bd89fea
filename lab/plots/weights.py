"""What the first layer of a network looks for."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lab.plots.inputs import Floats, Values
from lab.plots.lettering import counted, readable
from lab.plots.sheet import MARGIN, as_batch, empty_sheet, for_display, new_sheet, put, range_of
from lab.plots.style import GREY, LIGHT, SIGNED, SMALL, finished

MAX_PICTURES, COLUMNS = 64, 8
SIDE, GAP = 0.6, 0.08  # inches
BAR = 0.9


def weight_grid(weights: Values, title: str) -> Figure:
    """Draw the weights of a layer's units or filters as pictures, at most 64.

    Those of one channel share one scale, red being positive, blue negative and white 0; of a number of channels other than
    1 and 3 that is the mean. Those of three channels are each scaled to [0, 1] by itself and drawn as colours.

    Args:
        weights: (K, C, h, w).
        title: whose weights these are.
    """
    pictures = as_batch(weights)
    if pictures.size == 0:
        return finished(empty_sheet(title, "no weights"))
    shown = pictures[:MAX_PICTURES]
    channels = pictures.shape[1]
    number = f"the first {MAX_PICTURES} of " * (len(pictures) > MAX_PICTURES) + counted(len(pictures), "filter")
    size = f"{pictures.shape[2]} x {pictures.shape[3]}"
    how = {
        1: "red is positive, blue negative",
        3: "three channels as colours, each scaled from its least to its greatest weight",
    }
    said = how.get(channels, f"mean of {channels} channels, red is positive, blue negative")
    broken = "" if np.isfinite(shown).all() else ", grey or black: not finite"
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = columns * (SIDE + GAP), rows * (SIDE + GAP)
    title = f"{readable(title)}: {number} of {size}; {said}{broken}"
    if channels == 3:
        figure, axes = new_sheet(width, height, title)
        colors = [for_display(picture[None], range_of(picture))[0] for picture in shown]
        for place, picture in enumerate(colors):
            put(axes, picture, place % columns * (SIDE + GAP), place // columns * (SIDE + GAP), SIDE)
        return finished(figure)
    return finished(_draw_signed(shown.mean(1), columns, (width, max(height, 1.2)), title))


def _draw_signed(pictures: Floats, columns: int, size: tuple[float, float], title: str) -> Figure:
    """Draw pictures (K, h, w) of one scale that is the same on both sides of 0, with its colour bar."""
    finite = np.abs(pictures[np.isfinite(pictures)])
    limit = float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
    width, height = size
    figure, axes = new_sheet(width + BAR, height, title)
    colors = colormaps[SIGNED].with_extremes(bad=LIGHT)
    for place, picture in enumerate(pictures):
        left, top = place % columns * (SIDE + GAP), place // columns * (SIDE + GAP)
        masked = np.where(np.isfinite(picture), picture, np.nan)
        image = put(axes, masked, left, top, SIDE, cmap=colors, vmin=-limit, vmax=limit)
        west, east, south, north = image.get_extent()
        axes.plot([west, east, east, west, west], [north, north, south, south, north], color=GREY, linewidth=0.3)
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    tall = min(height - GAP, 2.2)
    place_of_bar = ((width + 0.1 - x0) / (x1 - x0), (y0 - tall) / (y0 - y1), 0.13 / (x1 - x0), tall / (y0 - y1))
    bar = figure.colorbar(image, cax=figure.add_axes(place_of_bar))
    bar.ax.tick_params(labelsize=SMALL)
    bar.locator = MaxNLocator(nbins=5, symmetric=True)
    bar.set_label("weight", fontsize=SMALL)
    assert y0 >= MARGIN
    return figure
