"""How far apart pairs of images are, and how far a pair's probability can be believed."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lab.plots.inputs import Booleans, Values, booleans, floats
from lab.plots.lettering import counted, percent, readable
from lab.plots.style import BLACK, COLORS, GREY, PANEL, SMALL, describe, explain, finished, new_figure, number_ticks, say

Numbers = npt.NDArray[np.float64]

NUM_BINS = 50
NUM_PROBABILITY_BINS = 10
WIDTH = 1.5 * PANEL
DEVIATE_95 = 1.96


def distance_histograms(distances: Values, same: Values, threshold: float | None = None, unit: str = "distance") -> Figure:
    """Draw the distances of same-class pairs and of different-class pairs over each other.

    Args:
        distances: (M,); those that are not finite are left out, which the figure says.
        same: bool (M,).
        threshold: distance up to which a pair is called the same; None or NaN where there is none.
        unit: what the distance is, such as ``Euclidean distance``.
    """
    values, is_same = floats(distances).astype(np.float64), booleans(same)
    known = np.isfinite(values)
    notes = [f"{counted(int((~known).sum()), 'pair')} without a finite distance left out"] * bool((~known).any())
    values, is_same = values[known], is_same[known]
    limit = float("nan") if threshold is None else float(threshold)
    figure = new_figure(WIDTH, 3.6)
    axes = figure.subplots()
    if len(values) == 0:
        describe(axes, "Distances of pairs", readable(unit), "pairs", notes, WIDTH)
        say(axes, "no pairs to draw", WIDTH)
        return finished(figure)
    edges = _edges(values)
    if values.min() == values.max():
        notes.append(f"all distances are {values[0]:.4g}")
    axes.stairs(
        np.histogram(values[is_same], edges)[0], edges, fill=True, facecolor=COLORS[5], edgecolor=COLORS[0], linewidth=1.2
    )
    axes.stairs(np.histogram(values[~is_same], edges)[0], edges, color=COLORS[1], linewidth=1.4, hatch="////", fill=False)
    drawn = _draw_threshold(axes, limit, edges)
    y = f"pairs in each of {len(edges) - 1} steps"
    describe(axes, f"Distances of {counted(len(values), 'pair')} of images", readable(unit), y, notes, WIDTH)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    handles = [*axes.patches, *axes.get_lines()]
    if np.isfinite(limit) and not drawn:
        handles.append(Line2D([], [], linestyle="none"))
    entries = _histogram_entries(values, is_same, limit, drawn)
    legend = figure.legend(handles, ["name"] * len(handles), fontsize=SMALL, loc="outside lower left", frameon=False)
    explain(legend, entries[: len(handles)])
    return finished(figure)


def _edges(values: Numbers) -> Numbers:
    """Return the edges of steps of one width that hold all values, a wide one where all are equal."""
    low, high = float(values.min()), float(values.max())
    margin = 0.5 * max(1.0, abs(low)) if high - low <= 1e-6 * max(abs(low), abs(high)) else 0.0
    return np.linspace(low - margin, high + margin, NUM_BINS + 1)


def _draw_threshold(axes: Axes, threshold: float, edges: Numbers) -> bool:
    """Draw the threshold unless it is so far off that the distances would shrink to a line; return whether it was drawn."""
    span = edges[-1] - edges[0]
    if not edges[0] - span <= threshold <= edges[-1] + span:
        return False
    axes.axvline(threshold, color=BLACK, linestyle="--", linewidth=1.5)
    return True


def _histogram_entries(distances: Numbers, same: Booleans, threshold: float, drawn: bool) -> list[str]:
    """Return what the legend says of either kind of pair, with the share that the threshold calls wrong."""
    near, far = int(same.sum()), int((~same).sum())
    one, two = f"same class: {counted(near, 'pair')}", f"different classes: {counted(far, 'pair')}"
    if np.isfinite(threshold):
        if near:
            one += f", {percent(float((distances[same] > threshold).mean()))} above the threshold, so called different"
        if far:
            two += f", {percent(float((distances[~same] <= threshold).mean()))} up to the threshold, so called the same"
    return [one, two, f"threshold {threshold:.3g}" + ": outside of the figure" * (not drawn)]


def reliability(probabilities: Values, same: Values) -> Figure:
    """Draw how often pairs of a probability to be of one class are of one class, with 95 % intervals (Wilson, 1927).

    The calibration error is the mean distance to the diagonal of ten steps of equal width, weighted by their pairs (Naeini,
    Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015).

    Args:
        probabilities: (M,) in [0, 1]; others are left out, which the figure says.
        same: bool (M,).
    """
    values, is_same = floats(probabilities).astype(np.float64), booleans(same)
    known = (values >= 0) & (values <= 1)
    notes = [f"{counted(int((~known).sum()), 'pair')} without a probability in [0, 1] left out"] * bool((~known).any())
    values, is_same = values[known], is_same[known]
    figure = new_figure(1.25 * PANEL, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bins = np.minimum((values * NUM_PROBABILITY_BINS).astype(int), NUM_PROBABILITY_BINS - 1)
    pairs = np.bincount(bins, minlength=NUM_PROBABILITY_BINS)
    error = _draw_reliability(above, values, is_same, bins, pairs)
    title = f"Reliability of the probability that a pair is of one class: calibration error {percent(error)}"
    describe(above, title, "", "share of pairs that are of one class", None, 1.25 * PANEL + 0.3)
    _draw_counts(below, pairs)
    describe(below, "", "probability to be of one class", "pairs", [f"{counted(len(values), 'pair')}", *notes], 1.25 * PANEL)
    if len(values) == 0:
        say(above, "no pairs to draw")
    return finished(figure)


def _draw_reliability(
    axes: Axes, values: Numbers, same: Booleans, bins: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]
) -> float:
    """Draw each step that has pairs, and return the calibration error."""
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
    axes.text(0.02, 0.97, "dotted: what it says\nis what happens", fontsize=SMALL, va="top", transform=axes.transAxes)
    filled = np.flatnonzero(pairs)
    number = pairs[filled].astype(np.float64)
    said = np.bincount(bins, values, NUM_PROBABILITY_BINS)[filled] / number
    happened = np.bincount(bins, same.astype(np.float64), NUM_PROBABILITY_BINS)[filled] / number
    z = DEVIATE_95
    center = (happened + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * np.sqrt(happened * (1 - happened) / number + z**2 / (4 * number**2)) / (1 + z**2 / number)
    axes.vlines(said, center - half, center + half, color=COLORS[0], linewidth=2.5, alpha=0.5)
    axes.plot(said, happened, color=COLORS[0], marker="o", markersize=5, linewidth=1.2)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.05)
    return float((number * np.abs(said - happened)).sum() / number.sum()) if len(number) else float("nan")


def _draw_counts(axes: Axes, pairs: npt.NDArray[np.int64]) -> None:
    """Draw the number of pairs of each step as a bar with the number on it."""
    places = (np.arange(NUM_PROBABILITY_BINS) + 0.5) / NUM_PROBABILITY_BINS
    axes.bar(places, pairs, width=0.9 / NUM_PROBABILITY_BINS, color=COLORS[5], edgecolor=COLORS[0])
    for place, number in zip(places, pairs, strict=True):
        if number > 0:
            axes.annotate(
                f"{number:,}", (place, number), (0, 1), textcoords="offset points", ha="center", va="bottom", fontsize=SMALL - 2
            )
    axes.set_ylim(0, 1.3 * max(1, int(pairs.max())))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    number_ticks(axes.xaxis, [0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "0.2", "0.4", "0.6", "0.8", "1"])
