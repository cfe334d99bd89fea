"""Which classes are taken for which."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from lab.plots.inputs import Integers, Values, integers
from lab.plots.lettering import class_name, counted, fitted, percent, readable, width_of
from lab.plots.style import AMOUNTS, LIGHT, PANEL, SMALL, finished, new_figure, number_ticks, say

MAX_WRITTEN = 12  # classes up to which the counts are written in the cells
MAX_CLASSES = 40  # classes up to which all are drawn
MAX_CONFUSED = 30  # classes drawn where there are more
LONGEST_NAME = 1.3  # inches
LEAST_SHARE = 1e-9  # below it a share is 0, which is white
SHARES = [0.0, 0.01, 0.05, 0.2, 0.5, 1.0]


def confusion_matrices(
    counts: Mapping[str, Values],
    class_names: Sequence[str],
    title: str = "Confusions: what images of each class are taken for",
) -> Figure:
    """Draw confusion matrices side by side, rows being true classes and columns predicted ones.

    A cell's colour is the share of its row, on a square-root scale, as rare confusions would look like none otherwise. Of
    more than 40 classes, the up to 30 that are confused most in all matrices together are drawn.

    Args:
        counts: of each split's name, the number of images (C, C) of each true class that each class was predicted for.
        class_names: the C names.
        title: what is drawn.
    """
    matrices = {name: integers(matrix) for name, matrix in counts.items()}
    num_classes = max((len(matrix) for matrix in matrices.values()), default=0)
    classes = _classes_to_draw(list(matrices.values()), num_classes)
    names = [fitted(class_name(class_names, i), LONGEST_NAME, SMALL) for i in classes]
    if len(classes) < num_classes:
        title += f"; the {len(classes)} of {num_classes} classes that are confused most"
    if num_classes == 0:
        return _empty(title)
    figure, panels, side = _panels(len(matrices), names, title)
    empty = any((matrix.sum(1)[classes] == 0).any() for matrix in matrices.values())
    for place, (axes, (name, matrix)) in enumerate(zip(panels, matrices.items(), strict=True)):
        axes.set_title(fitted(f"{readable(name)}: {_accuracy(matrix)}", side + 0.3, SMALL, lines=2), fontsize=SMALL)
        image = _draw_matrix(axes, matrix, classes, names, side)
        if place == 0 or len(classes) > MAX_WRITTEN:
            axes.set_ylabel("true class", fontsize=SMALL)
        else:
            axes.tick_params("y", labelleft=False)
    bar = figure.colorbar(
        image, ax=panels, shrink=0.9 if len(classes) <= MAX_WRITTEN else 0.9 / len(panels), ticks=SHARES, pad=0.02, aspect=25
    )
    bar.set_label(f"share of a row (square-root scale);\nwhite: no image{', grey: none in the row' * empty}", fontsize=SMALL)
    number_ticks(bar.ax.yaxis, SHARES, [f"{100 * share:.0f} %" for share in SHARES], fontsize=SMALL)
    return finished(figure)


def _empty(title: str) -> Figure:
    figure = new_figure(1.4 * PANEL, 2.0, title)
    say(figure.subplots(), "no confusions were counted")
    return finished(figure)


def _panels(number: int, names: list[str], title: str) -> tuple[Figure, list[Axes], float]:
    """Make a figure for matrices side by side, or above each other where many names have to be read; and their side."""
    longest = max(width_of(name, SMALL) for name in names)
    below = longest if _are_upright(names) else 0.2
    few = len(names) <= MAX_WRITTEN
    side = float(np.clip(0.27 * len(names), 2.0, 4.6)) if few else 4.4
    rows, columns = (1, number) if few else (number, 1)
    size = longest + columns * (side + 0.15) + 1.4, rows * (side + below + 0.6) + 0.45
    figure = new_figure(*size, title)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel()), side


def _are_upright(names: list[str]) -> bool:
    return max(map(len, names)) > 2 or len(names) > MAX_WRITTEN


def _classes_to_draw(matrices: list[Integers], num_classes: int) -> list[int]:
    """Return all classes, or of many those with most confusions, as true or as predicted class, in their order."""
    if num_classes <= MAX_CLASSES:
        return list(range(num_classes))
    confusions = np.zeros(num_classes, dtype=np.int64)
    for matrix in matrices:
        wrong = matrix - np.diag(np.diag(matrix))
        confusions[: len(matrix)] += wrong.sum(0) + wrong.sum(1)
    most = np.argsort(-confusions, kind="stable")[:MAX_CONFUSED]
    return sorted(int(i) for i in most if confusions[i] > 0 or confusions.max() == 0)


def _accuracy(matrix: Integers) -> str:
    total = int(matrix.sum())
    return f"{percent(np.trace(matrix) / total, 2)} of {counted(total, 'image')} right" if total > 0 else "no images"


def _draw_matrix(axes: Axes, matrix: Integers, classes: list[int], names: list[str], side: float) -> AxesImage:
    """Draw the rows and columns of some classes, as shares of all images of the true class."""
    totals = matrix.sum(1, keepdims=True)
    shares = np.where(totals > 0, matrix / np.maximum(totals, 1), np.nan)[np.ix_(classes, classes)]
    image = axes.imshow(shares, cmap=_amounts(), norm=PowerNorm(0.5, LEAST_SHARE, 1), interpolation="nearest")
    axes.set_xlabel("predicted class", fontsize=SMALL)
    places = list(range(len(classes)))
    look: dict[str, Any] = {"fontsize": SMALL if len(names) <= 20 else SMALL - 2}
    number_ticks(axes.xaxis, places, names, rotation=90 if _are_upright(names) else 0, **look)
    number_ticks(axes.yaxis, places, names, **look)
    if len(classes) <= MAX_WRITTEN:
        _write_counts(axes, matrix[np.ix_(classes, classes)], shares, side / len(classes))
    return image


def _amounts() -> Colormap:
    """Return the colours of shares, from light to dark, and grey where there is none."""
    return colormaps[f"{AMOUNTS}_r"].with_extremes(bad=LIGHT, under="white")


def _write_counts(axes: Axes, counts: Integers, shares: npt.NDArray[np.float64], cell: float) -> None:
    """Write the counts in the cells, in black or white, whichever is read more easily, as large as cells of a side allow."""
    colors = _amounts()
    for (row, column), count in np.ndenumerate(counts):
        red, green, blue, _ = colors(float(np.sqrt(np.nan_to_num(shares[row, column]))))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        size = float(np.clip(72 * 0.9 * cell / (0.64 * len(str(count))), 4, SMALL - 1))
        if count > 0:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color="white" if dark else "black")
