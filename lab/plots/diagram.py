"""A network as boxes and arrows."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from lab.plots.layers import Layer, folded
from lab.plots.lettering import counted, fitted, readable
from lab.plots.sheet import empty_sheet, new_sheet
from lab.plots.style import BLACK, GREY, SMALL, finished

MAX_BOXES = 40
LONGEST_COLUMN = {False: 10, True: 12}  # boxes, without and with branches, which make columns wide
MAX_BRANCHES = 3  # drawn side by side; of more, the first two and the last
BOX_WIDTH, BOX_HEIGHT = 1.75, 0.72  # inches
GAP, BETWEEN, GUTTER = 0.24, 0.3, 0.45
WITH_PARAMETERS, WITHOUT = "#D6E8F5", "#FFFFFF"
SHARED = "#F2F2F2"


def network_diagram(layers: Sequence[Layer], title: str) -> Figure:
    """Draw a network as boxes from top to bottom, in several columns where it is long.

    A box says the kind of a layer, the shape of what comes out of it and the number of its parameters, and is blue where
    there are any. Layers that several inputs go through are drawn once for each, as the same weights, up to where the
    branches merge. Of more than 40 layers consecutive ones of one parent are folded into one box.

    Args:
        layers: in the order in which they are passed.
        title: which network this is.
    """
    if not layers:
        return finished(empty_sheet(title, "no layers"))
    parameters = counted(sum(layer.num_parameters for layer in layers), "parameter")
    shown = folded(layers, MAX_BOXES)
    note = f", drawn as {len(shown)} boxes" if len(shown) < len(layers) else ""
    columns = -(-len(shown) // LONGEST_COLUMN[any(layer.branches > 1 for layer in shown)])
    depth = -(-len(shown) // columns)
    parts = [shown[start : start + depth] for start in range(0, len(shown), depth)]
    drawn = [max(min(layer.branches, MAX_BRANCHES) for layer in part) for part in parts]
    widths = [number * BOX_WIDTH + (number - 1) * BETWEEN for number in drawn]
    top = 0.4
    below = 0.1 if len(parts) > 1 else 0.1 - GAP
    size = sum(widths) + GUTTER * (len(parts) - 1) + 0.2, top + depth * (BOX_HEIGHT + GAP) + below
    figure, axes = new_sheet(*size, f"{readable(title)}: {counted(len(layers), 'layer')}, {parameters}{note}")
    left = 0.1
    for number, (part, width) in enumerate(zip(parts, widths, strict=True)):
        _draw_column(axes, part, left + width / 2, top, number, len(parts))
        left += width + GUTTER
    return finished(figure)


def _draw_column(axes: Axes, layers: Sequence[Layer], middle: float, top: float, number: int, columns: int) -> None:
    """Draw the layers of one column, with what comes in above the first and goes out below the last."""
    previous: list[float] = []
    for row, layer in enumerate(layers):
        y = top + row * (BOX_HEIGHT + GAP)
        places = _places(layer.branches, middle)
        if layer.branches > 1:
            _draw_shared(axes, layers, row, places, y)
        for place in places:
            _draw_box(axes, layer, place, y)
        if row == 0:
            _draw_entries(axes, layer, places, y, number)
        for start, end in _arrows(previous, places):
            _draw_arrow(axes, (start, y - GAP), (end, y))
        previous = places
    if number < columns - 1:
        y = top + len(layers) * (BOX_HEIGHT + GAP) - GAP
        for place in previous:
            _draw_connector(axes, place, y + GAP, number + 1)
            axes.plot([place, place], [y, y + GAP - 0.09], color=BLACK, linewidth=1)


def _places(branches: int, middle: float) -> list[float]:
    """Return the middles of the boxes of a layer, which are drawn side by side."""
    number = max(1, min(branches, MAX_BRANCHES))
    return [middle + (i - (number - 1) / 2) * (BOX_WIDTH + BETWEEN) for i in range(number)]


def _arrows(starts: list[float], ends: list[float]) -> list[tuple[float, float]]:
    """Return where arrows go from one row to the next: straight on, or from all to one, or from one to all."""
    if len(starts) == len(ends):
        return list(zip(starts, ends, strict=True))
    return [(start, end) for start in starts for end in ends]


def _draw_box(axes: Axes, layer: Layer, middle: float, top: float) -> None:
    box = FancyBboxPatch(
        (middle - BOX_WIDTH / 2 + 0.04, top + 0.04),
        BOX_WIDTH - 0.08,
        BOX_HEIGHT - 0.08,
        boxstyle="round,pad=0.04",
        facecolor=WITH_PARAMETERS if layer.num_parameters else WITHOUT,
        edgecolor=BLACK,
        linewidth=0.9,
    )
    axes.add_patch(box)
    parameters = counted(layer.num_parameters, "parameter") if layer.num_parameters else "no parameters"
    shape = " x ".join(f"{size:,}" for size in layer.output_shape) or "one number"
    room = BOX_WIDTH - 0.12
    lines = [(layer.kind, SMALL, "bold", BLACK), (shape, SMALL, "normal", BLACK), (parameters, SMALL, "normal", BLACK)]
    lines += [(layer.name, SMALL - 2, "normal", GREY)] * bool(layer.name)
    for row, (text, size, weight, ink) in enumerate(lines):
        y = top + 0.05 + (BOX_HEIGHT - 0.1) * (row + 0.5) / len(lines)
        axes.text(
            middle, y, fitted(text, room, size, 1, weight), fontsize=size, weight=weight, color=ink, ha="center", va="center"
        )


def _draw_shared(axes: Axes, layers: Sequence[Layer], row: int, places: list[float], top: float) -> None:
    """Draw what binds the boxes of one layer together."""
    left, right = places[0] - BOX_WIDTH / 2 - 0.08, places[-1] + BOX_WIDTH / 2 + 0.08
    last = row + 1 == len(layers) or layers[row + 1].branches != layers[row].branches
    below = 0.08 if last else GAP
    axes.add_patch(Rectangle((left, top - 0.08), right - left, BOX_HEIGHT + 0.08 + below, color=SHARED, linewidth=0, zorder=0))
    for index, place in enumerate(places[:-1]):
        x, y = place + BOX_WIDTH / 2, top + BOX_HEIGHT / 2
        if layers[row].branches > MAX_BRANCHES and index == MAX_BRANCHES - 2:
            axes.text(x + BETWEEN / 2, y, "…", ha="center", va="center", fontsize=SMALL + 2)
            continue
        axes.plot([x, x + BETWEEN], [y - 0.025, y - 0.025], color=GREY, linewidth=1)
        axes.plot([x, x + BETWEEN], [y + 0.025, y + 0.025], color=GREY, linewidth=1)
    first = row == 0 or layers[row - 1].branches != layers[row].branches
    if first:
        axes.text(left, top - 0.1, "same weights", ha="left", va="bottom", fontsize=SMALL, style="italic", color=GREY)


def _draw_entries(axes: Axes, layer: Layer, places: list[float], top: float, number: int) -> None:
    """Draw what the first box of a column gets: the inputs, or what the column before ends with."""
    for index, place in enumerate(places):
        _draw_arrow(axes, (place, top - 0.2), (place, top))
        if number > 0:
            _draw_connector(axes, place, top - 0.2, number)
        else:
            which = layer.branches if index == MAX_BRANCHES - 1 else index + 1
            name = f"input {which}" if len(places) > 1 else "input"
            axes.text(place, top - 0.22, name, ha="center", va="bottom", fontsize=SMALL)


def _draw_connector(axes: Axes, x: float, y: float, number: int) -> None:
    """Draw a number in a circle, which stands at the end of one column and at the start of the next."""
    axes.add_patch(Circle((x, y), 0.09, facecolor="white", edgecolor=BLACK, linewidth=0.9, zorder=3))
    axes.text(x, y, str(number), ha="center", va="center_baseline", fontsize=SMALL - 1, zorder=4)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, linewidth=1, color=BLACK, shrinkA=0, shrinkB=0)
    axes.add_patch(arrow)
