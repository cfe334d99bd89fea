from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from lab import plots
from lab.plots import Layer
from lab.plots.layers import folded

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
LAYERS = [
    Layer("encoder.0", "Conv2d 3x3", (32, 14, 14), 9248),
    Layer("encoder.1", "ReLU", (32, 14, 14), 0),
    Layer("encoder.2", "Linear", (6272,), 100),
]


def _boxes(figure: Figure) -> list[tuple[float, float]]:
    """Return the left and upper edge of every box, in the order in which they were drawn."""
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    return [(round(box.get_x(), 4), round(box.get_y(), 4)) for box in boxes]


def _arrows(figure: Figure) -> list[FancyArrowPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_each_layer_is_a_box_with_its_kind_shape_parameters_and_name_below_the_one_before() -> None:
    figure = plots.network_diagram(LAYERS, "Encoder")
    (x, y), *others = _boxes(figure)
    assert [place[0] for place in others] == [x, x]
    assert y < others[0][1] < others[1][1]
    texts = _texts(figure)
    assert texts[0] == "Encoder: 3 layers, 9,348 parameters"
    start = texts.index("Conv2d 3x3")
    assert texts[start : start + 4] == ["Conv2d 3x3", "32 x 14 x 14", "9,248 parameters", "encoder.0"]
    assert texts[texts.index("ReLU") + 2] == "no parameters"
    assert "6,272" in texts
    assert len(_arrows(figure)) == 3
    assert "same weights" not in texts


def test_layers_with_parameters_are_filled_and_others_are_not() -> None:
    boxes = [patch for patch in plots.network_diagram(LAYERS, "Encoder").axes[0].patches if isinstance(patch, FancyBboxPatch)]
    filled = [box.get_facecolor() != (1, 1, 1, 1) for box in boxes]
    assert filled == [True, False, True]


def test_a_shared_branch_is_drawn_once_for_each_input_and_merges_and_its_parameters_count_once() -> None:
    layers = [replace(layer, branches=2) for layer in LAYERS] + [Layer("head", "Euclidean distance", (), 0)]
    figure = plots.network_diagram(layers, "Siamese")
    boxes = _boxes(figure)
    assert len(boxes) == 7
    for left, right in (boxes[0:2], boxes[2:4], boxes[4:6]):
        assert left[1] == right[1]
        assert left[0] < right[0]
    assert boxes[6][0] == pytest.approx((boxes[4][0] + boxes[5][0]) / 2)
    texts = _texts(figure)
    assert texts.count("same weights") == 1
    assert texts[0] == "Siamese: 4 layers, 9,348 parameters"
    assert {"input 1", "input 2", "one number"} <= set(texts)
    assert len(_arrows(figure)) == 2 + 2 * 2 + 2


def test_of_many_branches_the_first_two_and_the_last_are_drawn() -> None:
    figure = plots.network_diagram([replace(LAYERS[0], branches=49), LAYERS[1]], "Split image")
    assert len(_boxes(figure)) == 4
    assert [text for text in _texts(figure) if text.startswith("input")] == ["input 1", "input 2", "input 49"]
    assert "…" in _texts(figure)


def test_a_long_network_goes_on_in_another_column_where_a_number_in_a_circle_says_so() -> None:
    layers = [Layer(f"layers.{i}", "Linear", (4,), 20) for i in range(25)]
    figure = plots.network_diagram(layers, "Long")
    boxes = _boxes(figure)
    assert len(boxes) == 25
    assert len({x for x, _ in boxes}) == 3
    circles = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    assert len(circles) == 4
    assert [text for text in _texts(figure) if text in ("1", "2", "3")] == ["1", "1", "2", "2"]


def test_more_than_forty_layers_are_folded_by_parent_and_keep_their_parameters() -> None:
    layers = [Layer(f"stage{i // 12}.block{i // 4 % 3}.{i % 4}", f"kind {i % 4}", (i,), i) for i in range(60)]
    shown = folded([*layers, Layer("head", "Linear", (10,), 7)], 40)
    assert [layer.name for layer in shown[:3]] == ["stage0.block0", "stage0.block1", "stage0.block2"]
    assert shown[0] == Layer("stage0.block0", "4 layers", (3,), 0 + 1 + 2 + 3)
    assert shown[-1] == Layer("head", "Linear", (10,), 7)
    assert len(shown) == 16
    assert sum(layer.num_parameters for layer in shown) == sum(range(60)) + 7
    assert folded(layers[:40], 40) == layers[:40]


@pytest.mark.parametrize("number", [41, 100, 659])
def test_layers_without_a_parent_are_folded_by_their_order(number: int) -> None:
    shown = folded([Layer(str(i), "Linear", (i,), 1) for i in range(number)], 40)
    assert 20 <= len(shown) <= 40
    assert sum(layer.num_parameters for layer in shown) == number
    assert shown[0].name.startswith("0 to ")
    assert shown[-1].output_shape == (number - 1,)
    assert shown[0].kind == f"{int(shown[0].name[5:]) + 1} layers: Linear"


def test_layers_with_and_without_branches_are_not_folded_into_one() -> None:
    shown = folded([Layer(str(i), "Linear", (4,), 1, branches=2 if i < 50 else 1) for i in range(60)], 40)
    assert {layer.branches for layer in shown} == {1, 2}
    assert sum(layer.num_parameters for layer in shown if layer.branches == 2) == 50


def test_a_diagram_stays_within_bounds_and_one_of_nothing_says_so() -> None:
    figure = plots.network_diagram([Layer(str(i), "Linear", (4,), 1) for i in range(659)], "Deep")
    assert len(_boxes(figure)) <= 40
    assert max(figure.get_size_inches()) < 12
    assert "no layers" in _texts(plots.network_diagram([], "Nothing"))
