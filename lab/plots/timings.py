"""How long things take, side by side."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from lab.plots.lettering import fitted
from lab.plots.style import (
    PANEL,
    SMALL,
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

NARROW = 5  # the ratio of the longest to the shortest time up to which 1, 2 and 5 of each decade would be too few ticks


def time_words(duration: float) -> str:
    """Return a number of milliseconds or microseconds with three digits, or a whole one."""
    return f"{duration:,.0f}" if duration >= 999.5 else f"{duration:.3g}"


def timings(cases: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the median of some times as a dot and all of them as a line, one panel a case, on a logarithmic axis.

    Args:
        cases: by case and by who took them, times in milliseconds; none of who has failed.
    """
    rows = [max(1, len(times)) for times in cases.values()] or [1]
    figure = new_figure(
        2.4 * PANEL, 0.9 * len(rows) + 0.24 * sum(rows), "milliseconds on a logarithmic axis, the median and all rounds"
    )
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, (case, times) in zip(panels, cases.items(), strict=False):
        describe(axes, case, "", "", [], 2.4 * PANEL)
        known = {who: found for who, found in times.items() if found}
        if not known:
            say(axes, "nobody has a time")
            continue
        for row, found in enumerate(known.values()):
            axes.hlines(row, min(found), max(found), color=color(0), linewidth=2.5, alpha=0.6)
            axes.plot([statistics.median(found)], [row], marker="o", markersize=6, color=color(0))
            text = time_words(statistics.median(found))
            axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center")
        axes.set_xscale("log")
        least, most = min(map(min, known.values())), max(map(max, known.values()))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if most > NARROW * least else MaxNLocator(5))
        plain_numbers(axes.xaxis)
        number_ticks(axes.yaxis, list(range(len(known))), [fitted(who, 2.6, SMALL) for who in known], fontsize=SMALL)
        axes.set_ylim(len(known) - 0.5, -0.5)
    panels[-1].set_xlabel("milliseconds", fontsize=SMALL)
    return finished(figure)


def growth(axes: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Figure:
    """Draw how times grow with a size, one panel for what is varied, both axes logarithmic.

    Args:
        axes: by what is varied and by part, microseconds of each size.
    """
    figure = new_figure(PANEL * max(1, len(axes)) + 1.9, 3.0, "microseconds of a step, or of an image")
    panels = figure.subplots(1, max(1, len(axes)), squeeze=False, sharey=True)[0]
    names = list(dict.fromkeys(part for parts in axes.values() for part in parts))
    lines: dict[str, Line2D] = {}
    for panel, (axis, parts) in zip(panels, axes.items(), strict=False):
        describe(panel, axis, "", "")
        for part, taken in parts.items():
            look, sizes = names.index(part), sorted(taken)
            style = {"color": color(look), "marker": marker(look), "linestyle": dashes(look)}
            lines[part] = panel.plot(sizes, [taken[size] for size in sizes], markersize=4, linewidth=1.3, **style)[0]
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks(sorted({size for taken in parts.values() for size in taken}))
        plain_numbers(panel.xaxis)
        plain_numbers(panel.yaxis)
    if lines:
        legend = figure.legend(
            list(lines.values()), ["name"] * len(lines), fontsize=SMALL, loc="outside right upper", frameon=False
        )
        explain(legend, list(lines), 1.7)
    return finished(figure)
