"""One look for all figures, and how they become files.

Nothing here goes through pyplot or changes matplotlib's settings, which all threads share.
"""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from lab.plots.lettering import fitted, font_families, readable

# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind readers. Markers and dashes tell apart in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES = ("-", "--", "-.", ":")
RIGHT, WRONG = COLORS[2], COLORS[1]
BLACK, GREY, LIGHT = "#000000", "#666666", "#DDDDDD"
AMOUNTS, SIGNED = "cividis", "RdBu_r"
TEXT, SMALL = 9.0, 8.0  # points
PANEL = 3.3  # width in inches of one of two panels side by side
DPI = 150


def color(index: int) -> str:
    """Return the colour of the category of a number."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    """Return the marker of the category of a number."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> str:
    """Return the line style of the category of a number."""
    return DASHES[index % len(DASHES)]


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Make a white figure of a size in inches, with a title in at most three lines."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.07, h_pad=0.07)  # inches at the edges
    if title:
        figure.suptitle(fitted(title, width - 0.3, TEXT + 1, lines=3), fontsize=TEXT + 1)
    return figure


def describe(axes: Axes, title: str, x: str, y: str, notes: list[str] | None = None, width: float = PANEL) -> None:
    """Set the title of a panel of a width in inches, what its axes show, and notes below it."""
    axes.set_title(fitted(title, width - 0.7, TEXT, lines=3), fontsize=TEXT)
    notes = [fitted(note, width - 0.5, SMALL, lines=3) for note in notes or []]
    axes.set_xlabel("\n".join([x, *notes]), fontsize=SMALL)
    axes.set_ylabel(y, fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)


def say(axes: Axes, message: str, width: float = PANEL) -> None:
    """Write in an otherwise empty panel why there is nothing to see."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.text(
        0.5, 0.5, fitted(message, 0.7 * width, TEXT, lines=6), ha="center", va="center", fontsize=TEXT, transform=axes.transAxes
    )


def number_ticks(axis: Axis, places: Sequence[float], values: Sequence[str], **look: Any) -> None:
    """Put texts at places of an axis, as they are: matplotlib sets names with two dollar signs as formulas."""
    axis.set_ticks(places, [readable(value) for value in values], **look)
    axis.set_minor_locator(FixedLocator([]))


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis as numbers, not as powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_formatter(NullFormatter())


def explain(legend: Legend, entries: list[str], width: float = 0.0) -> None:
    """Write the entries of a legend, each at most ``width`` inches wide: matplotlib drops those that begin with a low line."""
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        text.set_text(fitted(entry, width, SMALL) if width else readable(entry))


def finished(figure: Figure) -> Figure:
    """Set all texts of a figure in fonts that have their characters, and none of them as a formula."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily(font_families())
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file, white where nothing is drawn, 150 dots an inch."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return file.getvalue()
