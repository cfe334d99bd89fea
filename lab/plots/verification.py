"""What errors a pair is told the same or different with, at every threshold."""

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from lab.plots.inputs import Values, floats
from lab.plots.lettering import counted, percent
from lab.plots.style import (
    BLACK,
    COLORS,
    GREY,
    PANEL,
    SMALL,
    describe,
    explain,
    finished,
    new_figure,
    number_ticks,
    plain_numbers,
    say,
)

Rates = npt.NDArray[np.float64]
Points = list[tuple[str, str, float, float]]  # what it says, its marker, false match rate, false non-match rate

LEAST_RATE = 1e-5
DET_TICKS = (1e-5, 1e-4, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999, 0.99999)  # about as far apart


def roc_and_det(
    false_match_rate: Values,
    false_non_match_rate: Values,
    at_threshold: tuple[float, float] | None = None,
    auc: float = float("nan"),
    equal_error_rate: float = float("nan"),
    logarithmic: bool = True,
) -> Figure:
    """Draw the ROC curve and, on normal-deviate axes, the DET curve, of all thresholds, side by side.

    DET: Martin et al., "The DET Curve in Assessment of Detection Task Performance", 1997.

    Args:
        false_match_rate: share in [0, 1] of different-class pairs called the same, at each of T thresholds in their order.
        false_non_match_rate: share in [0, 1] of same-class pairs called different, at each of them.
        at_threshold: both rates at the threshold that is used, which is marked; None where there is none.
        auc: area under the ROC curve; NaN where unknown.
        equal_error_rate: where both rates are equal, which is marked; NaN where unknown.
        logarithmic: whether the false matches of the ROC are on a logarithmic axis, which shows what few there are.
    """
    auc, equal_error_rate = float(auc), float(equal_error_rate)  # which tensors of one number are not yet
    false_match, false_non_match = floats(false_match_rate).astype(float), floats(false_non_match_rate).astype(float)
    known = np.isfinite(false_match) & np.isfinite(false_non_match)
    missing = [f"{counted(int((~known).sum()), 'threshold')} without both rates, left out"] * bool(
        (~known).any() and known.any()
    )
    false_match, false_non_match = false_match[known], false_non_match[known]
    figure = new_figure(2 * PANEL, 4.0 + 0.15 * len(missing))
    roc, det = figure.subplots(1, 2)
    least = _least_rate(np.concatenate([false_match, false_non_match]))
    points = _points(at_threshold, equal_error_rate)
    for axes in (roc, det):
        axes.set_box_aspect(1)
    if known.any():
        _draw_roc(roc, false_match, false_non_match, points, least, logarithmic)
        _draw_det(det, false_match, false_non_match, points, least)
        _add_legend(figure, roc, points)
    else:
        for axes in (roc, det):
            say(axes, "no curve: it takes pairs of one class and pairs of two")
    title = f"ROC: area under the curve {auc:.4f}" if auc == auc else "ROC: area under the curve unknown"
    x, least_note = "false match rate", f"0 % is drawn at {100 * least:.3g} %"
    notes = [*missing, least_note] if known.any() else missing
    scale = "log scale" if logarithmic else "linear scale"
    describe(roc, title, f"{x} ({scale})", "true match rate", notes if logarithmic else missing)
    title = f"DET: equal error rate {percent(equal_error_rate, 2)}"
    describe(det, title, f"{x} (normal deviates)", "false non-match rate (normal deviates)", notes)
    return finished(figure)


def deviates(rates: Values) -> Rates:
    """Return where rates in (0, 1) lie on a normal-deviate axis: 0.5 at 0, 0.841 at 1."""
    places: Rates = torch.special.ndtri(torch.as_tensor(np.asarray(rates, dtype=np.float64))).numpy()
    return places


def _points(at_threshold: tuple[float, float] | None, equal_error_rate: float) -> Points:
    """Return what is marked on both curves."""
    points: Points = []
    if np.isfinite(equal_error_rate):
        points.append((f"equal error rate: {percent(equal_error_rate, 2)}", "o", equal_error_rate, equal_error_rate))
    match, non_match = (float(rate) for rate in at_threshold or (np.nan, np.nan))
    if np.isfinite([match, non_match]).all():
        text = f"at the threshold: false match {percent(match, 2)}, false non-match {percent(non_match, 2)}"
        points.append((text, "D", match, non_match))
    return points


def _least_rate(rates: Rates) -> float:
    """Return the rate as which a rate of 0 is drawn on axes that have no 0: half the least there is, within bounds."""
    positive = rates[rates > 0]
    return float(np.clip(positive.min() / 2, LEAST_RATE, 0.005)) if len(positive) else 0.005


def _draw_roc(axes: Axes, false_match: Rates, false_non_match: Rates, points: Points, least: float, logarithmic: bool) -> None:
    lowest = least if logarithmic else 0.0
    axes.plot(false_match.clip(lowest, 1), 1 - false_non_match, color=COLORS[0], linewidth=1.6)
    chance = np.geomspace(least, 1, 200) if logarithmic else np.linspace(0, 1, 2)
    axes.plot(chance, chance, color=GREY, linestyle=":", linewidth=1.2)
    for _, marker, match, non_match in points:
        _mark(axes, marker, max(match, lowest), 1 - non_match)
    if logarithmic:
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
        powers = [10.0**power for power in range(-5, 1) if 10.0**power >= least]
        number_ticks(axes.xaxis, powers, [f"{100 * power:g} %" for power in powers])
    else:
        _percent_ticks(axes.xaxis)
    _percent_ticks(axes.yaxis)
    axes.set_xlim(lowest - 0.02 * (not logarithmic), 1.05)
    axes.set_ylim(-0.02, 1.03)


def _percent_ticks(axis: Axis) -> None:
    shares = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    number_ticks(axis, shares, [f"{100 * share:.0f} %" for share in shares])


def _draw_det(axes: Axes, false_match: Rates, false_non_match: Rates, points: Points, least: float) -> None:
    """Draw the curve up to 60 % errors, and all of it where it is not much better than chance."""
    axes.plot(
        deviates(false_match.clip(least, 1 - least)),
        deviates(false_non_match.clip(least, 1 - least)),
        color=COLORS[0],
        linewidth=1.6,
    )
    best_sum = float((false_match + false_non_match).min()) if len(false_match) else 0.0
    highest = max([0.6, *[1.2 * rate for _, _, *rates in points for rate in rates]]) if best_sum < 0.6 else 1 - least
    shares = np.linspace(least, 1 - least, 400)
    axes.plot(deviates(shares), deviates(1 - shares), color=GREY, linestyle=":", linewidth=1.2)
    for _, marker, match, non_match in points:
        x, y = deviates(np.clip([match, non_match], least, 1 - least))
        _mark(axes, marker, x, y)
    limits = deviates([least, min(highest, 1 - least)])
    gap = 0.03 * (limits[1] - limits[0])
    ticks = [rate for rate in DET_TICKS if limits[0] <= deviates(rate) <= limits[1]]
    for axis in (axes.xaxis, axes.yaxis):
        number_ticks(axis, [float(deviates(rate)) for rate in ticks], [f"{100 * rate:g} %" for rate in ticks])
    axes.tick_params("x", rotation=45 if len(ticks) > 5 else 0)
    axes.set_xlim(limits[0] - gap, limits[1] + gap)
    axes.set_ylim(limits[0] - gap, limits[1] + gap)


def _mark(axes: Axes, marker: str, x: float, y: float) -> None:
    """Draw a point that stands out on a curve."""
    face, size = (COLORS[1], 6) if marker == "D" else ("white", 9)
    axes.plot([x], [y], marker, markersize=size, markerfacecolor=face, markeredgecolor=BLACK, linestyle="none", clip_on=False)


def _add_legend(figure: Figure, roc: Axes, points: Points) -> None:
    entries = ["all thresholds", "chance", *[text for text, *_ in points]]
    legend = figure.legend(
        roc.get_lines(), entries, fontsize=SMALL, loc="outside lower center", ncols=2, frameon=False, handlelength=1.6
    )
    explain(legend, entries)
