"""What a search over hyperparameters has found: every trial as a line, and what each hyperparameter matters."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from lab.plots.lettering import counted, fitted, readable
from lab.plots.style import (
    AMOUNTS,
    BLACK,
    GREY,
    LIGHT,
    PANEL,
    SMALL,
    color,
    describe,
    finished,
    new_figure,
    number_ticks,
    say,
)

BETWEEN, WIDEST = 1.35, 1.0  # inches between two axes, and of a tick's text
MAX_COLUMNS, MAX_CHOICES = 10, 12
NEAR = 0.06  # ticks less than this from an end of an axis would meet its label
Places = npt.NDArray[np.float64]
Ticks = list[tuple[float, str]]


def parallel_coordinates(
    columns: Mapping[str, Sequence[Any]],
    scores: Sequence[float],
    score: str,
    complete: Sequence[bool],
    logarithmic: Collection[str] = (),
    highest_is_best: bool = True,
    num_failed: int = 0,
) -> Figure:
    """Draw each trial as a line through its values, coloured by its score, the best one on top and with a black edge.

    A trial that was given up is a dashed line, as its score is that of a shorter training; one that failed has no score and
    is only counted.

    Args:
        columns: of each hyperparameter's name, its value in each trial: numbers, or texts for one of some choices.
        scores: of each trial.
        score: what the score is called.
        complete: whether each trial was trained to its end.
        logarithmic: the hyperparameters whose axis is logarithmic.
        highest_is_best: whether the highest score is best, or the lowest.
        num_failed: how many trials have failed.
    """
    shown = dict(list(columns.items())[:MAX_COLUMNS])
    notes = [f"the first {MAX_COLUMNS} of {len(columns)} hyperparameters"] * (len(columns) > MAX_COLUMNS)
    given_up = len(complete) - sum(complete)
    notes += [f"dashed: {counted(given_up, 'trial')} given up early"] * (given_up > 0)
    notes += [f"{counted(num_failed, 'trial')} failed, not drawn"] * (num_failed > 0)
    width = BETWEEN * (len(shown) + 1) + 1.4
    own = np.asarray(scores, dtype=np.float64)
    trained = own[np.asarray(complete, dtype=bool)]
    best = f"; black edge: the best, {(trained.max() if highest_is_best else trained.min()):.4g}" if len(trained) else ""
    figure = new_figure(max(width, 1.4 * PANEL), 3.6, f"{score} of {counted(len(scores), 'trial')}{best}")
    axes = figure.subplots()
    drawn = [_places(values, name in logarithmic) for name, values in shown.items()]
    drawn.append(_places(list(own), False))
    _draw_axes(axes, [*shown, score], [ticks for _, ticks in drawn], [*(name in logarithmic for name in shown), False])
    axes.set_xlabel("\n".join(fitted(note, width - 0.5, SMALL, lines=2) for note in notes), fontsize=SMALL)
    if len(scores) == 0:
        axes.text(0.5, 0.5, "no trial has a score", ha="center", fontsize=SMALL, transform=axes.transAxes)
        return finished(figure)
    lines = np.stack([places for places, _ in drawn], axis=1)
    _draw_lines(figure, axes, lines, own, np.asarray(complete, dtype=bool), score, highest_is_best)
    return finished(figure)


def importances(shares: Mapping[str, float], score: str, num_trials: int) -> Figure:
    """Draw the share of each hyperparameter in the variance of a score over the space as a bar, the largest on top.

    Args:
        shares: by the names of the hyperparameters, which add up to 1.
        score: what the score is called.
        num_trials: the trials it was computed from.
    """
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    height = 1.1 + 0.3 * max(2, len(ordered))
    figure = new_figure(1.6 * PANEL, height, f"What matters for {score}: fANOVA of {counted(num_trials, 'trial')}")
    axes = figure.subplots()
    note = ["Hutter, Hoos and Leyton-Brown, 2014; of few trials a rough estimate"]
    describe(axes, "", "share of the variance of the score over the space", "", note, 1.6 * PANEL)
    if not ordered:
        say(axes, "no hyperparameters")
        return finished(figure)
    rows = list(range(len(ordered)))
    axes.barh(rows, [share for _, share in ordered], color=color(0), height=0.6)
    for row, (_, share) in zip(rows, ordered, strict=True):
        axes.text(share + 0.01, row, f"{share:.2f}", fontsize=SMALL, va="center")
    number_ticks(axes.yaxis, rows, [fitted(name, 1.6, SMALL) for name, _ in ordered], fontsize=SMALL)
    axes.set_xlim(0, 1.1)  # room for the number beside a bar
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    return finished(figure)


def _places(values: Sequence[Any], logarithmic: bool) -> tuple[Places, Ticks]:
    """Return where values lie on an axis from 0 to 1, and its ticks."""
    if any(isinstance(value, str) for value in values):
        return _places_of_choices([str(value) for value in values])
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 0 or numbers.min() == numbers.max():
        return np.full(len(numbers), 0.5), [(0.5, f"{numbers[0]:.4g}")] if len(numbers) else []
    low, high = float(numbers.min()), float(numbers.max())
    scale = np.log10 if logarithmic else np.asarray
    start, end = float(scale(low)), float(scale(high))
    if logarithmic:
        decades = [tick for tick in LogLocator(10, subs=(1.0,)).tick_values(low, high) if low <= tick <= high]
        found = LogLocator(10, subs=(1.0, 2.0, 5.0) if len(decades) < 3 else (1.0,)).tick_values(low, high)
    else:
        whole = all(isinstance(value, int) for value in values)
        found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    marks = [
        ((float(scale(tick)) - start) / (end - start), f"{tick:.6g}")
        for tick in map(float, found)
        if tick > 0 or not logarithmic
    ]
    within = [mark for mark in marks if NEAR < mark[0] < 1 - NEAR]
    ends = [(0.0, _label(low, high - low)), (1.0, _label(high, high - low))]
    return (scale(numbers) - start) / (end - start), [ends[0], *within, ends[1]]


def _label(number: float, span: float) -> str:
    """Return a number with as many digits, three or more, as place it on an axis of that span."""
    texts = (f"{number:.{digits}g}" for digits in range(3, 17))
    return next((text for text in texts if abs(float(text) - number) < 0.01 * span), repr(number))


def _places_of_choices(values: Sequence[str]) -> tuple[Places, Ticks]:
    names = sorted(set(values), key=_in_order)
    places = {name: (i + 0.5) / len(names) for i, name in enumerate(names)}
    every = -(-len(names) // MAX_CHOICES)  # of many, some are named
    return np.asarray([places[value] for value in values]), [(places[name], name) for name in names[::every]]


def _in_order(name: str) -> tuple[bool, float, str]:
    """Sort texts that are numbers as numbers, before others."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _draw_axes(axes: Axes, names: list[str], ticks: list[Ticks], logarithmic: list[bool]) -> None:
    axes.set_xlim(-0.8, len(names) - 0.95)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    for place, marks in enumerate(ticks):
        axes.vlines(place, 0, 1, color=GREY, linewidth=0.8, zorder=1)
        for height, text in marks:
            axes.plot([place - 0.02, place], [height, height], color=GREY, linewidth=0.8, zorder=1)
            label = fitted(text, WIDEST, SMALL - 1, lines=3)
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
            axes.text(place - 0.04, height, label, ha="right", va="center", fontsize=SMALL - 1, zorder=6, bbox=box)
    titles = [
        fitted(readable(name), BETWEEN - 0.1, SMALL, lines=2) + "\n(log scale)" * is_log
        for name, is_log in zip(names, logarithmic, strict=True)
    ]
    number_ticks(axes.xaxis, list(range(len(names))), [""] * len(names))
    axes.xaxis.set_ticklabels(titles, fontsize=SMALL)
    axes.tick_params("x", length=0, top=False, labeltop=True, labelbottom=False)


def _draw_lines(
    figure: Figure,
    axes: Axes,
    lines: Places,
    scores: Places,
    complete: npt.NDArray[np.bool_],
    score: str,
    highest_is_best: bool,
) -> None:
    """Draw the lines in the order of their scores, so that good ones lie above bad ones, and the colours' bar."""
    span = Normalize(float(scores.min()), float(scores.max()) or 1.0)
    if span.vmin == span.vmax:
        span = Normalize(float(scores.min()) - 0.5, float(scores.max()) + 0.5)
    colors = colormaps[AMOUNTS if highest_is_best else f"{AMOUNTS}_r"]
    order = np.argsort(scores if highest_is_best else -scores, kind="stable")
    x = np.arange(lines.shape[1], dtype=np.float64)
    for style, chosen in (("--", order[~complete[order]]), ("-", order[complete[order]])):
        segments = [np.column_stack([x, lines[i]]) for i in chosen]
        width, layer = (1.0, 2) if style == "--" else (1.6, 3)
        look: dict[str, Any] = {"linestyles": style, "linewidths": width, "alpha": 0.9, "zorder": layer}
        axes.add_collection(LineCollection(segments, array=scores[chosen], cmap=colors, norm=span, **look))
    finished_ones = order[complete[order]]
    if len(finished_ones):
        best = int(finished_ones[-1])
        axes.plot(x, lines[best], color=BLACK, linewidth=4.2, zorder=4)
        axes.plot(x, lines[best], color=colors(span(scores[best])), linewidth=2.4, zorder=5)
    bar = figure.colorbar(ScalarMappable(span, colors), ax=axes, pad=0.01, aspect=30, fraction=0.05)
    bar.set_label(fitted(readable(score), 2.5, SMALL), fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL - 1, color=LIGHT)
