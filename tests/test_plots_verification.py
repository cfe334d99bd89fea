from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import StepPatch
from scipy.stats import norm

from lab import plots
from lab.plots.verification import deviates

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
NAN = float("nan")
FALSE_MATCH = np.array([0.0, 0.01, 0.1, 0.3, 1.0])
FALSE_NON_MATCH = np.array([1.0, 0.4, 0.1, 0.02, 0.0])


def _at(axes: Axes, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() == marker]
    return [tuple(np.asarray(line.get_xydata())[0].tolist()) for line in lines]


def _ticks(axes: Axes) -> dict[str, float]:
    return dict(zip([label.get_text() for label in axes.get_xticklabels()], axes.get_xticks(), strict=True))


def _legend(figure: object) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]  # type: ignore[attr-defined]


def test_the_deviate_axis_places_half_at_zero_and_others_as_the_normal_distribution_does() -> None:
    assert deviates(0.5) == 0
    assert deviates([0.01, 0.2, 0.99]) == pytest.approx(norm.ppf([0.01, 0.2, 0.99]))
    _, det = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH).axes
    ticks = _ticks(det)
    assert ticks["50 %"] == 0
    assert ticks["1 %"] == pytest.approx(norm.ppf(0.01))


@pytest.mark.parametrize("logarithmic", [True, False])
def test_both_curves_pass_through_the_rates_and_zero_is_where_the_note_says(logarithmic: bool) -> None:
    roc, det = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH, logarithmic=logarithmic).axes
    x, y = roc.get_lines()[0].get_data()
    assert roc.get_xscale() == ("log" if logarithmic else "linear")
    assert ("log scale" if logarithmic else "linear scale") in roc.get_xlabel()
    assert x == pytest.approx([0.005 if logarithmic else 0, *FALSE_MATCH[1:]])
    assert y == pytest.approx(1 - FALSE_NON_MATCH)
    x, y = det.get_lines()[0].get_data()
    assert x == pytest.approx(norm.ppf(FALSE_MATCH.clip(0.005, 0.995)))
    assert y == pytest.approx(norm.ppf(FALSE_NON_MATCH.clip(0.005, 0.995)))
    assert "0 % is drawn at 0.5 %" in det.get_xlabel()


def test_the_threshold_and_the_equal_error_rate_are_marked_where_they_are() -> None:
    figure = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH, (0.02, 0.3), 0.95, 0.1)
    roc, det = figure.axes
    assert _at(roc, "D") == [(0.02, 0.7)]
    assert _at(roc, "o") == [(0.1, 0.9)]
    assert _at(det, "D")[0] == pytest.approx(tuple(norm.ppf([0.02, 0.3])))
    assert _at(det, "o")[0] == pytest.approx(tuple(norm.ppf([0.1, 0.1])))
    assert roc.get_title() == "ROC: area under the curve 0.9500"
    assert det.get_title() == "DET: equal error rate 10.00 %"
    said = ["equal error rate: 10.00 %", "at the threshold: false match 2.00 %, false non-match 30.00 %"]
    assert _legend(figure) == ["all thresholds", "chance", *said]


def test_rates_and_scores_may_be_tensors_of_one_number() -> None:
    numbers = [0.02, 0.3, 0.95, 0.1]
    tensors = torch.tensor(numbers)
    of_numbers = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH, (numbers[0], numbers[1]), numbers[2], numbers[3])
    of_tensors = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH, (tensors[0], tensors[1]), tensors[2], tensors[3])  # type: ignore[arg-type]
    assert _legend(of_tensors) == _legend(of_numbers)
    assert _at(of_tensors.axes[0], "D") == [pytest.approx(_at(of_numbers.axes[0], "D")[0])]


def test_chance_is_where_a_pair_is_called_the_same_as_often_whatever_it_is() -> None:
    roc, det = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH).axes
    x, y = roc.get_lines()[1].get_data()
    assert x == pytest.approx(y)
    x, y = det.get_lines()[1].get_data()
    assert norm.cdf(x) == pytest.approx(1 - norm.cdf(y))


@pytest.mark.parametrize("at_threshold", [None, (NAN, 0.1)])
def test_without_a_threshold_or_scores_nothing_is_marked(at_threshold: tuple[float, float] | None) -> None:
    roc, det = plots.roc_and_det(FALSE_MATCH, FALSE_NON_MATCH, at_threshold, NAN, NAN).axes
    assert _at(roc, "D") == _at(roc, "o") == _at(det, "D") == []
    assert roc.get_title() == "ROC: area under the curve unknown"


@pytest.mark.parametrize(("false_match", "false_non_match"), [([], []), ([NAN, NAN], [0.5, 0.1]), ([0.5], [NAN])])
def test_without_pairs_of_both_kinds_there_is_no_curve_and_it_is_said(
    false_match: list[float], false_non_match: list[float]
) -> None:
    for axes in plots.roc_and_det(false_match, false_non_match, (0.1, 0.1)).axes:
        assert axes.get_lines()[:] == []
        assert axes.texts[0].get_text().replace("\n", " ") == "no curve: it takes pairs of one class and pairs of two"


@pytest.mark.parametrize("rates", [([0, 0, 1], [1, 0, 0]), ([0, 1], [1, 0]), ([1], [1]), ([0, 0.5, 1], [1, 0.5, 0])])
def test_perfect_reversed_and_chance_curves_are_drawn_within_the_axes(rates: tuple[list[float], list[float]]) -> None:
    for axes in plots.roc_and_det(*rates, (0.0, 0.0), 1.0, 0.0).axes:
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
        assert np.isfinite(axes.get_lines()[0].get_xydata()).all()


def _pairs(num_pairs: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    same = torch.arange(num_pairs) % 4 == 0
    return torch.rand(num_pairs, generator=generator) + 0.5 * ~same, same


def _histograms(axes: Axes) -> list[StepPatch]:
    return [patch for patch in axes.patches if isinstance(patch, StepPatch)]


def test_histogram_counts_are_those_of_the_pairs_in_each_step_and_add_up_to_them() -> None:
    distances, same = _pairs()
    (axes,) = plots.distance_histograms(distances, same, 0.6, "cosine distance").axes
    for histogram, of_kind in zip(_histograms(axes), (distances[same], distances[~same]), strict=True):
        counts, edges, _ = histogram.get_data()
        assert counts.sum() == len(of_kind)
        inner = [((of_kind >= low) & (of_kind < high)).sum() for low, high in pairwise(edges)]
        assert counts[:-1].tolist() == inner[:-1]
    assert axes.get_xlabel() == "cosine distance"


def test_the_threshold_is_drawn_and_the_legend_says_the_share_of_each_kind_on_its_wrong_side() -> None:
    distances, same = torch.tensor([0.1, 0.2, 0.7, 0.5, 0.8, 0.9, 1.0]), torch.tensor([1, 1, 1, 0, 0, 0, 0]).bool()
    figure = plots.distance_histograms(distances, same, 0.5)
    assert figure.axes[0].get_lines()[0].get_xdata() == [0.5, 0.5]
    assert _legend(figure) == [
        "same class: 3 pairs, 33.3 % above the threshold, so called different",
        "different classes: 4 pairs, 25.0 % up to the threshold, so called the same",
        "threshold 0.5",
    ]


def test_the_kinds_differ_in_hatching_and_outline_not_in_colour_alone() -> None:
    same, different = _histograms(plots.distance_histograms(*_pairs()).axes[0])
    assert [histogram.get_fill() for histogram in (same, different)] == [True, False]
    assert [histogram.get_hatch() for histogram in (same, different)] == [None, "////"]


@pytest.mark.parametrize("threshold", [-1e6, 1e9, float("inf"), NAN, None])
def test_a_threshold_far_off_or_none_does_not_shrink_the_distances(threshold: float | None) -> None:
    figure = plots.distance_histograms(*_pairs(), threshold)
    (axes,) = figure.axes
    assert list(axes.get_lines()) == []
    assert axes.get_xlim()[0] > -1
    assert axes.get_xlim()[1] < 3
    is_known = threshold is not None and np.isfinite(threshold)
    assert (len(_legend(figure)) == 3) == is_known
    assert not is_known or _legend(figure)[-1].endswith("outside of the figure")


def test_distances_that_are_not_finite_are_left_out_and_counted() -> None:
    (axes,) = plots.distance_histograms([0.1, NAN, float("inf"), 0.4], [True, True, False, False]).axes
    assert sum(int(histogram.get_data()[0].sum()) for histogram in _histograms(axes)) == 2
    assert "2 pairs without a finite distance left out" in axes.get_xlabel()


@pytest.mark.parametrize("distance", [0.0, 1.0, -3.0, 1e9, 1e38, 1e-42])
def test_equal_distances_are_one_bar_and_it_is_said(distance: float) -> None:
    (axes,) = plots.distance_histograms([distance] * 5, [True] * 5, distance).axes
    assert sorted(_histograms(axes)[0].get_data()[0])[-2:] == [0, 5]
    assert "all distances are" in axes.get_xlabel()


@pytest.mark.parametrize("distances", [[], [NAN]])
def test_without_any_pair_it_is_said(distances: list[float]) -> None:
    (axes,) = plots.distance_histograms(distances, [True] * len(distances), 0.5).axes
    assert axes.texts[0].get_text() == "no pairs to draw"


def test_reliability_is_the_share_of_same_pairs_in_each_step_with_the_number_of_pairs() -> None:
    probabilities = [0.05, 0.05, 0.95, 0.95, 0.95, 0.85, 1.0]
    same = [False, True, True, True, False, False, True]
    above, below = plots.reliability(probabilities, same).axes
    x, y = above.get_lines()[1].get_data()
    assert x == pytest.approx([0.05, 0.85, (3 * 0.95 + 1) / 4])
    assert y == pytest.approx([0.5, 0.0, 0.75])
    assert [int(bar.get_height()) for bar in below.patches] == [2, 0, 0, 0, 0, 0, 0, 0, 1, 4]  # type: ignore[attr-defined]
    assert [text.get_text() for text in below.texts] == ["2", "1", "4"]
    error = (2 * 0.45 + 0.85 + 4 * ((3 * 0.95 + 1) / 4 - 0.75)) / 7
    assert f"calibration error {100 * error:.1f} %" in above.get_title().replace("\n", " ")


def test_reliability_intervals_are_wilsons() -> None:
    above = plots.reliability([0.55] * 10, [True] * 3 + [False] * 7).axes[0]
    (lines,) = [collection for collection in above.collections if isinstance(collection, LineCollection)]
    low, high = lines.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.1078, 0.6032), abs=1e-3)  # of 3 in 10


@pytest.mark.parametrize(("probabilities", "left_out"), [([], 0), ([NAN, 1.5, -0.1], 3), ([0.5, NAN], 1)])
def test_what_is_no_probability_is_left_out_and_counted(probabilities: list[float], left_out: int) -> None:
    above, below = plots.reliability(probabilities, [True] * len(probabilities)).axes
    assert ("left out" in below.get_xlabel()) == (left_out > 0)
    assert ("no pairs to draw" in [text.get_text() for text in above.texts]) == (len(probabilities) == left_out)
