import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lab import plots

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
NAMES = ["zero", "one", "two"]


def _images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _texts(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]


def _arrays(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def _scaled(images: Tensor, low: float, high: float) -> Tensor:
    return (images - low) / (high - low)


def _below(axes: Axes, text: str) -> int:
    """Return the number of the picture that a text stands below."""
    (place,) = [one.get_position() for one in axes.texts if one.get_text().replace("\n", " ") == text]
    extents = [image.get_extent() for image in axes.images]
    return next(i for i, (x0, x1, y1, _) in enumerate(extents) if x0 <= place[0] <= x1 and 0 <= place[1] - y1 < 0.15)


def test_a_batch_is_shown_over_its_whole_range_with_the_name_of_each_class_below() -> None:
    images = 3 * _images(3, 1, 5, 5) - 7
    low, high = images.min().item(), images.max().item()
    figure = plots.sample_batch(images, torch.tensor([2, 0, 1]), NAMES)
    for array, image in zip(_arrays(figure), images, strict=True):
        np.testing.assert_allclose(array, _scaled(image[0], low, high), atol=1e-5)
    assert _texts(figure)[0] == f"A batch as the network gets it: 3 images; black is {low:.3g}, white {high:.3g}"
    for place, name in enumerate(["two", "zero", "one"]):
        assert _below(figure.axes[0], name) == place
    assert [image.get_clim() for image in figure.axes[0].images] == [(0, 1)] * 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_three_channels_are_colours_and_any_others_but_one_their_mean(channels: int) -> None:
    images = _images(2, channels, 4, 6)
    figure = plots.sample_batch(images, [0, 1], NAMES)
    scaled = _scaled(images, images.min().item(), images.max().item())
    expected = scaled.permute(0, 2, 3, 1) if channels == 3 else scaled.mean(1)
    for array, picture in zip(_arrays(figure), expected, strict=True):
        np.testing.assert_allclose(array, picture, atol=1e-5)
    assert (f"the mean of {channels} channels" in _texts(figure)[0]) == (channels not in (1, 3))


@pytest.mark.parametrize("value", [0.0, -2.5, 1e30])
def test_images_of_one_value_are_grey(value: float) -> None:
    figure = plots.sample_batch(torch.full((2, 1, 1, 1), value), [0, 1], NAMES)
    assert [array.tolist() for array in _arrays(figure)] == [[[0.5]], [[0.5]]]
    assert f"all values are {value:.3g}" in _texts(figure)[0]


def test_values_that_are_not_finite_are_black_or_white_and_do_not_count_for_the_range() -> None:
    images = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf, 3.0, 2.0]).reshape(1, 1, 2, 3)
    figure = plots.sample_batch(images, [0], NAMES)
    assert _arrays(figure)[0].tolist() == [[0, 0, 1], [0, 1, 0.5]]
    assert "not finite" in _texts(figure)[0]
    assert _arrays(plots.sample_batch(images * torch.nan, [0], NAMES))[0].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_large_batch_is_shown_up_to_48_images_and_an_empty_one_says_so() -> None:
    figure = plots.sample_batch(_images(100, 1, 2, 2), torch.zeros(100), NAMES)
    assert len(_arrays(figure)) == 48
    assert "the first 48 of 100 images" in _texts(figure)[0]
    assert "no images" in _texts(plots.sample_batch(_images(0, 1, 2, 2), [], NAMES))


@pytest.mark.parametrize(("shape", "ratio"), [((5, 5), 1.0), ((5, 10), 2.0), ((10, 5), 0.5), ((1, 100), 4.0), ((100, 1), 0.25)])
def test_pictures_keep_their_proportions_and_very_long_ones_stay_visible(shape: tuple[int, int], ratio: float) -> None:
    figure = plots.sample_batch(_images(1, 1, *shape), [0], NAMES)
    axes = figure.axes[0]
    x0, x1, y1, y0 = axes.images[0].get_extent()
    assert (x1 - x0) / (y1 - y0) == pytest.approx(ratio)
    width, height = figure.get_size_inches()  # one inch is one inch
    assert (abs(np.diff(axes.get_xlim())[0]), abs(np.diff(axes.get_ylim())[0])) == pytest.approx((width, height))


def test_a_pair_stands_side_by_side_over_its_caption_in_one_range() -> None:
    first, second = _images(2, 1, 3, 3), 5 + _images(2, 1, 3, 3)
    figure = plots.pair_grid(first, second, ["3 | 8, called same", "1 | 1, called same"], "Pairs told wrong")
    low, high = first.min().item(), second.max().item()
    expected = [first[0], second[0], first[1], second[1]]
    for array, image in zip(_arrays(figure), expected, strict=True):
        np.testing.assert_allclose(array, _scaled(image[0], low, high), atol=1e-5)
    axes = figure.axes[0]
    one, two, *_ = (image.get_extent() for image in axes.images)
    assert one[1] <= two[0] < one[1] + 0.1
    assert one[2:] == two[2:]
    (caption,) = [text for text in axes.texts if text.get_text().replace("\n", " ") == "3 | 8, called same"]
    assert one[0] < caption.get_position()[0] < two[1]
    assert caption.get_position()[1] > one[2]
    assert _texts(figure)[0].startswith("Pairs told wrong: 2 pairs")


def test_pairs_are_drawn_up_to_thirty_and_without_any_it_is_said() -> None:
    figure = plots.pair_grid(_images(40, 1, 2, 2), _images(40, 1, 2, 2), [str(i) for i in range(40)], "Pairs")
    assert len(_arrays(figure)) == 60
    assert "the first 30 of 40 pairs" in _texts(figure)[0]
    assert _texts(plots.pair_grid([], [], [], "Pairs told wrong")) == ["Pairs told wrong", "no pairs"]
    assert len(_arrays(plots.pair_grid(_images(1, 1, 1, 1), _images(1, 1, 1, 1), ["one"], "A pair"))) == 2


def test_right_neighbors_have_a_tick_and_a_whole_frame_and_wrong_ones_a_cross_and_a_broken_one() -> None:
    queries, neighbors = _images(2, 1, 3, 3), _images(2, 2, 1, 3, 3)
    right = torch.tensor([[True, False], [False, True]])
    figure = plots.query_rows(queries, neighbors, ["q0", "q1"], [["a", "b"], ["c", "d"]], right, "Test images")
    axes = figure.axes[0]
    below = {text: _below(axes, text) for text in _texts(figure)[3:]}
    assert below == {"q0": 0, "✓ a": 1, "✗ b": 2, "q1": 3, "✗ c": 4, "✓ d": 5}
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_linewidth() > 1]
    looks = [(frame.get_linestyle() == "-", frame.get_edgecolor()) for frame in frames]
    assert [whole for whole, _ in looks] == [True, False, False, True]
    assert len({color for _, color in looks}) == 2
    for frame, number in zip(frames, (1, 2, 4, 5), strict=True):
        x0, _, _, y0 = axes.images[number].get_extent()
        assert frame.get_xy() == pytest.approx((x0 - 0.02, y0 - 0.02))
    expected = torch.stack([queries[0], *neighbors[0], queries[1], *neighbors[1]]).flatten(1)
    scaled = _scaled(expected, expected.min().item(), expected.max().item())
    np.testing.assert_allclose(np.stack(_arrays(figure)).reshape(6, -1), scaled, atol=1e-5)
    assert "2 queries; the nearest image is right for 1" in _texts(figure)[0]


def test_queries_are_drawn_up_to_sixteen_with_eight_neighbors_and_without_any_it_is_said() -> None:
    captions = [[str(j) for j in range(10)] for _ in range(20)]
    arguments = _images(20, 1, 2, 2), _images(20, 10, 1, 2, 2), [str(i) for i in range(20)], captions
    figure = plots.query_rows(*arguments, torch.ones(20, 10))
    assert len(_arrays(figure)) == 16 * 9
    assert "the first 16 of 20 queries; the nearest image is right for 20" in _texts(figure)[0]
    figure = plots.query_rows(*arguments, torch.ones(20, 10), summary="all there are", max_neighbors=9)
    assert len(_arrays(figure)) == 16 * 10
    assert "Queries and their nearest images: all there are; black is" in _texts(figure)[0]
    assert "no queries" in _texts(plots.query_rows([], [], [], [], []))
    none = plots.query_rows(_images(2, 1, 2, 2), _images(2, 0, 1, 2, 2), ["a", "b"], [[], []], torch.ones(2, 0))
    assert "no images were found" in _texts(none)


def test_weights_of_one_channel_share_one_scale_that_is_the_same_on_both_sides_of_zero() -> None:
    weights = _images(5, 1, 3, 4)
    figure = plots.weight_grid(weights, "First layer")
    limit = weights.abs().max().item()
    for image, weight in zip(figure.axes[0].images, weights, strict=True):
        np.testing.assert_allclose(np.asarray(image.get_array()), weight[0])
        assert image.get_clim() == pytest.approx((-limit, limit))
        assert image.cmap.name == "RdBu_r"
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylabel() == "weight"
    assert _texts(figure)[0] == "First layer: 5 filters of 3 x 4; red is positive, blue negative"


def test_weights_of_three_channels_are_colours_each_over_its_own_range() -> None:
    weights = _images(4, 3, 3, 3) * torch.tensor([1.0, 10.0, 100.0, 0.0]).reshape(4, 1, 1, 1)
    figure = plots.weight_grid(weights, "First layer")
    for array, weight in zip(_arrays(figure)[:3], weights[:3], strict=True):
        np.testing.assert_allclose(array, _scaled(weight, weight.min().item(), weight.max().item()).permute(1, 2, 0), atol=1e-5)
    assert (_arrays(figure)[3] == 0.5).all()
    assert len(figure.axes) == 1


def test_weights_of_other_channels_are_their_mean_and_at_most_64_are_drawn() -> None:
    weights = _images(100, 5, 2, 2)
    figure = plots.weight_grid(weights, "Second layer")
    np.testing.assert_allclose(np.stack(_arrays(figure)), weights[:64].mean(1), rtol=1e-5, atol=1e-6)
    assert "the first 64 of 100 filters" in _texts(figure)[0]
    assert "mean of 5 channels" in _texts(figure)[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_weights_that_are_zero_or_not_finite_are_drawn(value: float, channels: int) -> None:
    figure = plots.weight_grid(torch.full((1, channels, 1, 1), value), "Weights")
    assert len(_arrays(figure)) == 1
    assert ("not finite" in _texts(figure)[0]) == (value != 0)
    assert "no weights" in _texts(plots.weight_grid(torch.zeros(0, channels, 3, 3), "Weights"))


def test_a_doubted_label_stands_below_its_image_with_what_is_suggested_and_its_loss() -> None:
    images = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    figure = plots.suspicious_labels(images, [0, 1, 2], [1, 2, 0], [3.456, 2.0, 0.5], NAMES)
    assert _texts(figure)[0].startswith("Training images whose labels are suspicious: 3 images, with the label, ")
    assert _texts(figure)[1:4] == ["label zero", "→ one", "loss 3.46"]
    assert [_below(figure.axes[0], f"label {name}") for name in NAMES] == [0, 1, 2]
    figure = plots.suspicious_labels(images, [0, 1, 2], [1, 2, 0], [3.456, 2.0, 0.5], NAMES, true_labels=[1, 1, 0])
    assert _texts(figure)[1:5] == ["label zero", "→ one", "true one", "loss 3.46"]


def test_of_many_doubted_labels_fifty_are_drawn_and_how_many_there_are_is_said() -> None:
    for num, total in ((60, None), (50, 60)):
        numbers = torch.zeros(num, dtype=torch.int64)
        figure = plots.suspicious_labels(torch.zeros(num, 1, 2, 2), numbers, numbers, torch.zeros(num), NAMES, total)
        assert len(figure.axes[0].images) == 50
        assert "the first 50 of 60 images" in _texts(figure)[0]
    assert "no images" in _texts(plots.suspicious_labels(torch.zeros(0, 1, 2, 2), [], [], [], NAMES))
