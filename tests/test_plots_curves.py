import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab import plots

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
NAN = float("nan")
HISTORY = {
    "train/loss": ([1, 2, 3], [0.9, 0.5, 0.3]),
    "val/loss": ([1, 2, 3], [1.0, 0.7, 0.8]),
    "val/auc": ([1, 3], [0.6, 0.9]),
}


def _panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def _curve(axes: Axes, number: int) -> tuple[list[float], list[float]]:
    x, y = (np.asarray(data).tolist() for data in axes.get_lines()[number].get_data())
    return x, y


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def _texts(axes: Axes) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in axes.texts]


def test_each_score_has_a_panel_with_the_exact_values_of_all_its_splits() -> None:
    figure = plots.learning_curves(HISTORY)
    loss, auc = _panels(figure)
    assert [axes.get_title() for axes in (loss, auc)] == ["loss", "auc"]
    assert [_curve(loss, 0), _curve(loss, 1), _curve(auc, 0)] == list(HISTORY.values())
    assert auc.get_ylabel() == "area under the ROC curve"
    assert _legend(figure) == ["val", "train"]
    assert loss.get_lines()[0].get_marker() != loss.get_lines()[1].get_marker()
    assert loss.get_lines()[0].get_linestyle() != loss.get_lines()[1].get_linestyle()


def test_the_best_epoch_is_marked_by_a_line_and_by_a_ring_at_the_validation_value() -> None:
    figure = plots.learning_curves(HISTORY, best_epoch=3)
    loss, auc = _panels(figure)
    assert _curve(loss, 2)[0] == [3, 3]
    assert _curve(loss, 3) == ([3], [0.8])
    assert _curve(auc, 2) == ([3], [0.9])
    assert _legend(figure)[-1] == "best epoch: 3"


def test_values_that_are_not_finite_are_gaps_and_counted() -> None:
    figure = plots.learning_curves({"val/loss": ([1, 2, 3], [NAN, 0.5, float("inf")]), "val/auc": ([1], [NAN])}, 9)
    loss, auc = _panels(figure)
    assert np.isnan(_curve(loss, 0)[1]).tolist() == [True, False, True]
    assert loss.get_xlabel() == "epoch\n2 values not finite, left out"
    assert _texts(auc) == ["no finite value"]


def test_a_loss_of_many_sizes_is_on_a_logarithmic_axis_with_plain_numbers_and_a_score_is_not() -> None:
    epochs = [1, 2, 3]
    loss, score = _panels(plots.learning_curves({"val/loss": (epochs, [10, 1, 0.1]), "val/score": (epochs, [10, 1, 0.1])}))
    assert (loss.get_yscale(), score.get_yscale()) == ("log", "linear")
    assert "(log scale)" in loss.get_ylabel()
    assert loss.yaxis.get_major_formatter()(0.1) == "0.1"


@pytest.mark.parametrize("history", [{}, {"val/auc": ([], [])}, {"lr": ([1], [0.1])}, {"a/b/loss": ([0.5], [1.0])}])
def test_a_history_of_little_or_nothing_is_drawn(history: dict[str, tuple[list[float], list[float]]]) -> None:
    (axes,) = _panels(plots.learning_curves(history, 1))
    expected = {0: ["no scores were logged"], 1: [] if any(values for _, values in history.values()) else ["no finite value"]}
    assert _texts(axes) == expected[len(history)]


def test_many_scores_are_drawn_up_to_twelve_and_the_title_says_so() -> None:
    figure = plots.learning_curves({f"val/score{i}": ([1], [0.5]) for i in range(30)})
    assert len(_panels(figure)) == 12
    assert figure.get_suptitle() == "Scores by epoch: the first 12 of 30"


def test_values_may_be_tensors_of_one_number() -> None:
    (axes,) = _panels(plots.learning_curves({"val/auc": ([1, 2], [*torch.tensor([0.5, 0.75])])}))
    assert _curve(axes, 0) == ([1, 2], [0.5, 0.75])


def test_a_score_of_several_runs_has_a_line_a_run_and_names_those_that_lack_it() -> None:
    figure = plots.compare_curves({"_first": HISTORY, "$second$": HISTORY, "without": {}}, "val/auc")
    (axes,) = _panels(figure)
    assert _curve(axes, 0) == _curve(axes, 1) == HISTORY["val/auc"]
    assert _legend(figure) == ["_first", "$second$"]
    assert "without val/auc: without" in axes.get_xlabel()
    assert axes.get_title() == "val/auc of 2 runs"


def test_of_many_runs_twenty_are_drawn_and_of_none_it_is_said() -> None:
    (axes,) = _panels(plots.compare_curves({str(i): HISTORY for i in range(25)}, "val/loss"))
    assert len(axes.get_lines()) == 20
    assert "the first 20 of 25 runs" in axes.get_xlabel()
    (axes,) = _panels(plots.compare_curves({}, "val/loss"))
    assert _texts(axes) == ["no run has val/loss"]


def test_runs_are_compared_by_a_dot_at_the_mean_and_a_line_over_the_interval() -> None:
    scores = {"first": (0.9, 0.8, 0.95), "reversed": (0.7, 0.75, 0.6), "one seed": (0.5, NAN, NAN), "failed": (NAN, NAN, NAN)}
    (axes,) = _panels(plots.score_comparison(scores, "test/accuracy"))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(scores)
    assert [_curve(axes, i) for i in range(3)] == [([0.9], [0]), ([0.7], [1]), ([0.5], [2])]
    segments = [collection.get_segments()[0].tolist() for collection in axes.collections]  # type: ignore[attr-defined]
    assert segments == [[[0.8, 0], [0.95, 0]], [[0.6, 1], [0.75, 1]]]
    assert _texts(axes) == ["0.9  [0.8, 0.95]", "0.7  [0.75, 0.6]", "0.5", "no value"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first run is on top


def test_a_comparison_grows_with_its_runs_up_to_forty_and_says_where_there_are_none() -> None:
    heights = [
        plots.score_comparison({str(i): (0.5, 0.4, 0.6) for i in range(n)}, "auc").get_figheight() for n in (3, 10, 40, 90)
    ]
    assert heights[0] < heights[1] < heights[2] == heights[3]
    (axes,) = _panels(plots.score_comparison({}, "auc"))
    assert _texts(axes) == ["no runs to compare"]
