import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lab import plots

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
COLUMNS = {"width": [16, 32, 64, 16], "lr": [1e-4, 1e-3, 1e-2, 1e-3], "encoder": ["MLP", "ConvNet", "MLP", "MLP"]}
SCORES = [0.5, 0.9, 0.7, 0.2]
COMPLETE = [True, True, True, False]


def _figure(**more: object) -> Figure:
    return plots.parallel_coordinates(COLUMNS, SCORES, "val/accuracy", COMPLETE, logarithmic=["lr"], **more)  # type: ignore[arg-type]


def _lines(axes: Axes) -> tuple[Any, Any]:
    dashed, whole = (found for found in axes.collections if isinstance(found, LineCollection) and found.get_array() is not None)
    return dashed, whole


def _ticks(axes: Axes, place: int) -> dict[str, float]:
    """Return the height of each label left of an axis."""
    found = [text for text in axes.texts if round(text.get_position()[0] + 0.04, 6) == place]
    return {text.get_text(): float(text.get_position()[1]) for text in found}


def test_each_trial_is_a_line_through_its_values_and_its_score() -> None:
    axes = _figure().axes[0]
    dashed, whole = _lines(axes)
    third = 1 / 3
    heights = {tuple(np.round(segment[:, 1], 6)) for segment in map(np.asarray, whole.get_segments())}
    assert heights == {
        (0.0, 0.0, 0.75, round((0.5 - 0.2) / 0.7, 6)),
        (round(third, 6), 0.5, 0.25, 1.0),
        (1.0, 1.0, 0.75, round((0.7 - 0.2) / 0.7, 6)),
    }
    assert [np.asarray(segment)[:, 1].tolist() for segment in dashed.get_segments()] == [[0.0, pytest.approx(0.5), 0.75, 0.0]]
    assert all(np.asarray(segment)[:, 0].tolist() == [0, 1, 2, 3] for segment in whole.get_segments())
    titles = [label.get_text() for label in axes.get_xticklabels()]
    assert titles == ["width", "lr\n(log scale)", "encoder", "val/accuracy"]


def test_ticks_stand_where_their_values_are_drawn() -> None:
    axes = _figure().axes[0]
    assert _ticks(axes, 1) == pytest.approx({"0.0001": 0, "0.001": 0.5, "0.01": 1})
    assert _ticks(axes, 2) == {"ConvNet": 0.25, "MLP": 0.75}
    assert all(height == pytest.approx((float(text) - 16) / 48) for text, height in _ticks(axes, 0).items())
    assert len(_ticks(axes, 0)) > 2


def test_the_ends_of_an_axis_are_labelled_and_no_tick_meets_them() -> None:
    columns: dict[str, list[float]] = {"lr": [0.00031234, 0.0021, 0.0193], "size": [12345, 200, 700]}
    figure = plots.parallel_coordinates(columns, [0.1, 0.5, 0.9871234], "val/auc", [True] * 3, logarithmic=["lr"])
    for place, (low, high) in enumerate([("0.000312", "0.0193"), ("200", "1.23e+04"), ("0.1", "0.987")]):
        ticks = _ticks(figure.axes[0], place)
        assert (ticks[low], ticks[high]) == (0, 1)
        assert np.diff(sorted(ticks.values())).min() > 0.05


@pytest.mark.parametrize(("low", "high"), [(0.98712, 0.98745), (1234567.0, 1239999.0), (0.00099951, 0.00100049)])
def test_labels_of_values_that_are_near_each_other_are_as_exact_as_it_takes(low: float, high: float) -> None:
    ticks = _ticks(plots.parallel_coordinates({"x": [low, high]}, [0.1, 0.2], "val/auc", [True] * 2).axes[0], 0)
    assert all(height == pytest.approx((float(text) - low) / (high - low), abs=0.01) for text, height in ticks.items())


@pytest.mark.parametrize(("highest", "best"), [(True, 0.9), (False, 0.5)])
def test_the_best_trial_lies_on_top_with_a_black_edge_and_good_ones_are_bright(highest: bool, best: float) -> None:
    figure = _figure(highest_is_best=highest)
    axes = figure.axes[0]
    assert figure.get_suptitle() == f"val/accuracy of 4 trials; black edge: the best, {best:g}"  # which was trained to its end
    edge: Any
    line: Any
    edge, line = [drawn for drawn in axes.get_lines() if len(np.asarray(drawn.get_xdata())) == 4]
    assert np.asarray(line.get_ydata())[-1] == pytest.approx((best - 0.2) / 0.7)
    assert to_hex(edge.get_color()) == "#000000" and edge.get_linewidth() > line.get_linewidth()
    dashed, whole = _lines(axes)
    scores = np.asarray(whole.get_array()).tolist()
    assert scores == sorted(scores, reverse=not highest)  # later ones are drawn over earlier ones
    brightness = whole.get_cmap()(whole.norm(np.asarray(scores)))[:, :3].sum(1)
    assert (np.diff(brightness) > 0).all()
    assert min(line.get_zorder(), edge.get_zorder()) > whole.get_zorder() > dashed.get_zorder()
    assert figure.axes[1].get_ylabel() == "val/accuracy"


def test_trials_given_up_are_dashed_and_failed_ones_counted() -> None:
    axes = _figure(num_failed=2).axes[0]
    assert axes.get_xlabel() == "dashed: 1 trial given up early\n2 trials failed, not drawn"
    dashed, whole = _lines(axes)
    assert dashed.get_linestyle()[0][1] is not None and whole.get_linestyle()[0][1] is None


def test_choices_that_are_numbers_are_in_their_order() -> None:
    axes = plots.parallel_coordinates({"size": ["100", "20", "null"]}, [1, 2, 3], "val/loss", [True] * 3).axes[0]
    heights = _ticks(axes, 0)
    assert heights["20"] < heights["100"] < heights["null"]


@pytest.mark.parametrize("num", [0, 1, 2])
def test_few_trials_and_equal_values_are_drawn(num: int) -> None:
    figure = plots.parallel_coordinates({"a": [3] * num, "b": ["x"] * num}, [0.5] * num, "val/auc", [True] * num)
    assert plots.png_bytes(figure).startswith(b"\x89PNG")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert ("no trial has a score" in texts) == (num == 0)


def test_of_many_hyperparameters_the_first_are_drawn_and_labels_do_not_overlap() -> None:
    columns = {f"a_name_that_is_rather_long_{i}": [0.123456 * i, 5.0] for i in range(12)}
    figure = plots.parallel_coordinates(columns, [0.1, 0.2], "val/nearest_neighbor_accuracy", [True, True])
    axes = figure.axes[0]
    assert axes.get_xlabel() == "the first 10 of 12 hyperparameters"
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) == 11
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_importances_are_bars_the_largest_on_top() -> None:
    figure = plots.importances({"width": 0.2, "lr": 0.7, "dropout": 0.1}, "val/accuracy", 12)
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.2, 0.1]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lr", "width", "dropout"]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert [text.get_text() for text in axes.texts] == ["0.70", "0.20", "0.10"]
    assert figure.get_suptitle() == "What matters for val/accuracy: fANOVA of 12 trials"
