"""How scores change over the epochs, and how runs compare."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lab.plots.lettering import counted, fitted, readable
from lab.plots.style import (
    BLACK,
    GREY,
    PANEL,
    SMALL,
    TEXT,
    color,
    dashes,
    describe,
    explain,
    finished,
    marker,
    new_figure,
    number_ticks,
    plain_numbers,
    say,
)

History: TypeAlias = Mapping[str, tuple[Sequence[float], Sequence[float]]]
Curve: TypeAlias = tuple[str, Sequence[float], Sequence[float]]

WORDS = {
    "accuracy": "share of images right",
    "auc": "area under the ROC curve",
    "eer": "equal error rate",
    "map@r": "mean average precision at R",
    "nearest_neighbor_accuracy": "share of images whose nearest training image is right",
    "pair_accuracy": "share of pairs told right",
    "recall@1": "share of images whose nearest other one is right",
}
SPLITS = ("val", "train", "test")
UNSPLIT = "of no split"
MAX_PANELS, MAX_RUNS, MAX_ROWS = 12, 20, 40
LONGEST_WITH_MARKERS = 40
LOGARITHMIC_FROM = 30.0  # the ratio of the highest to the lowest loss from which its axis is logarithmic


def learning_curves(history: History, best_epoch: int | None = None) -> Figure:
    """Draw the scores of a run over its epochs, one panel a score with all its splits in it.

    Args:
        history: of names such as ``train/loss`` and ``val/auc``, the epochs, counted from 1, and the values then. Epochs may
            be broken numbers, where a score was taken within one.
        best_epoch: the epoch that was chosen, counted from 1; it is marked in every panel, and the ``val`` values then.
    """
    panels: dict[str, list[Curve]] = {}
    for name, (epochs, values) in history.items():
        split, _, score = name.rpartition("/")
        panels.setdefault(score, []).append((split or UNSPLIT, epochs, values))
    shown = dict(list(panels.items())[:MAX_PANELS])
    columns = min(2, max(1, len(shown)))
    rows = -(-max(1, len(shown)) // columns)
    width = PANEL * columns if columns > 1 else 1.4 * PANEL
    title = "Scores by epoch" + (f": the first {MAX_PANELS} of {len(panels)}" if len(panels) > MAX_PANELS else "")
    figure = new_figure(width, 0.4 + 2.4 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    splits = list(dict.fromkeys([*SPLITS, *[split for curves in shown.values() for split, _, _ in curves]]))
    looks = {split: look for look, split in enumerate(splits)}
    handles: dict[str, Line2D] = {}
    for axes, (score, curves) in zip(grid, shown.items(), strict=False):
        _draw_curves(axes, score, curves, [looks[split] for split, _, _ in curves], width / columns)
        handles |= {split: line for (split, _, _), line in zip(curves, axes.get_lines(), strict=True)}
        mark = _mark_best(axes, curves, best_epoch)
        handles |= {f"best epoch: {best_epoch}": mark} if mark is not None else {}
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    if not shown:
        grid[0].set_visible(True)
        say(grid[0], "no scores were logged")
    order = [name for name in splits if name in handles] + [name for name in handles if name not in splits]
    _add_legend(figure, {name: handles[name] for name in order}, "outside lower center", ncols=4)
    return finished(figure)


def compare_curves(histories: Mapping[str, History], score: str) -> Figure:
    """Draw one score of several runs over their epochs; at most 20 runs are drawn.

    Args:
        histories: of each run's name, its scores as ``learning_curves`` takes them.
        score: the name of the score, such as ``val/auc``.
    """
    having = {run: history[score] for run, history in histories.items() if score in history}
    shown = list(having.items())[:MAX_RUNS]
    notes = [f"without {score}: {', '.join(run for run in histories if run not in having)}"] * (len(having) < len(histories))
    notes += [f"the first {MAX_RUNS} of {len(having)} runs"] * (len(having) > MAX_RUNS)
    names = [run for run, _ in shown]
    figure = new_figure(2 * PANEL, 3.0 + 0.18 * max(0, len(shown) - 12))
    axes = figure.subplots()
    curves = [(name, *values) for name, (_, values) in zip(names, shown, strict=True)]
    _draw_curves(axes, score.rpartition("/")[2], curves, list(range(len(curves))), 1.3 * PANEL, notes)
    title = fitted(f"{score} of {counted(len(shown), 'run')}", 1.2 * PANEL, TEXT + 1)  # not above the names beside the panel
    axes.set_title(title, fontsize=TEXT + 1)
    if not shown:
        say(axes, f"no run has {score}")
    _add_legend(figure, dict(zip(names, axes.get_lines(), strict=True)), "outside right upper")
    return finished(figure)


def score_comparison(scores: Mapping[str, tuple[float, float, float]], name: str) -> Figure:
    """Draw one score of each of several runs as a dot with its interval, the first run on top; at most 40 are drawn.

    Args:
        scores: of each run's name, the mean and the lower and upper end of its interval; NaN where unknown.
        name: what the score is called.
    """
    shown = list(scores.items())[:MAX_ROWS]
    notes = [f"the first {MAX_ROWS} of {len(scores)} runs"] * (len(scores) > MAX_ROWS)
    figure = new_figure(2 * PANEL, 1.1 + 0.28 * max(2, len(shown)), f"{name} of {counted(len(shown), 'run')}")
    axes = figure.subplots()
    describe(axes, "", f"{readable(name)}: mean and interval", "", notes, 2 * PANEL)
    if not shown:
        say(axes, "no runs to compare")
    for row, (_, values) in enumerate(shown):
        mean, low, high = (float(value) for value in values)
        if np.isfinite([low, high]).all():
            axes.hlines(row, min(low, high), max(low, high), color=color(0), linewidth=2.5, alpha=0.6)
        if np.isfinite(mean):
            axes.plot([mean], [row], marker="o", markersize=6, color=color(0))
        interval = f"  [{low:.4g}, {high:.4g}]" if np.isfinite([low, high]).all() else ""
        text = f"{mean:.4g}{interval}" if np.isfinite(mean) else "no value"
        axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center")
    number_ticks(axes.yaxis, list(range(len(shown))), [fitted(run, 1.6, SMALL) for run, _ in shown], fontsize=SMALL)
    axes.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    return finished(figure)


def _draw_curves(
    axes: Axes, score: str, curves: list[Curve], looks: list[int], width: float, notes: list[str] | None = None
) -> None:
    """Draw curves, each with the look of a number, on axes that suit their values."""
    every = np.concatenate([_finite(values) for _, _, values in curves] or [np.empty(0)])
    missing = int(np.isnan(every).sum())
    notes = [*(notes or []), *[f"{counted(missing, 'value')} not finite, left out"] * (missing > 0)]
    known = every[~np.isnan(every)]
    logarithmic = "loss" in score and len(known) > 0 and known.min() > 0 and known.max() > LOGARITHMIC_FROM * known.min()
    words = WORDS.get(score, score.replace("_", " "))
    words = fitted(words, 1.7, SMALL, lines=2)
    describe(axes, score, "epoch", words + " (log scale)" * bool(logarithmic), notes, width)
    for (_, epochs, values), look in zip(curves, looks, strict=True):
        shape = marker(look) if len(values) <= LONGEST_WITH_MARKERS else ""
        x, y = np.asarray([float(epoch) for epoch in epochs]), _finite(values)
        axes.plot(x, y, color=color(look), marker=shape, linestyle=dashes(look), markersize=4, linewidth=1.3)
    if logarithmic:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if len(known) == 0 and curves:
        say(axes, "no finite value", width)


def _finite(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return values with NaN for all that cannot be drawn."""
    numbers = np.asarray([float("nan") if value is None else float(value) for value in values], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _mark_best(axes: Axes, curves: list[Curve], best_epoch: int | None) -> Line2D | None:
    """Mark the chosen epoch by a line, which is returned, and the validation values then by rings."""
    known = [epoch for _, epochs, values in curves for epoch in np.asarray(epochs, dtype=float)[np.isfinite(_finite(values))]]
    if best_epoch is None or not known:
        return None
    line = axes.axvline(best_epoch, color=GREY, linestyle=":", linewidth=1.3)
    for split, epochs, values in curves:
        if split == "val" and best_epoch in list(epochs):
            value = _finite(values)[list(epochs).index(best_epoch)]
            axes.plot([best_epoch], [value], "o", markersize=9, markerfacecolor="none", markeredgecolor=BLACK, linestyle="none")
    return line


def _add_legend(figure: Figure, lines: dict[str, Line2D], place: str, **look: Any) -> None:
    """Name lines beside the panels, where they hide nothing."""
    if lines:
        look = {"fontsize": SMALL, "loc": place, "frameon": False, "handlelength": 3.2, **look}
        explain(figure.legend(list(lines.values()), ["name"] * len(lines), **look), list(lines), 1.7)
