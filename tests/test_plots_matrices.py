from collections.abc import Sequence

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from lab import plots

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")


def _random_counts(seed: int, num_classes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 9, (num_classes, num_classes), generator=generator)
    return counts + 50 * torch.eye(num_classes, dtype=torch.long)


def _names(axes: Axes) -> tuple[list[str], list[str]]:
    x, y = ([label.get_text() for label in labels] for labels in (axes.get_xticklabels(), axes.get_yticklabels()))
    return x, y


def _written(axes: Axes) -> dict[tuple[float, float], int]:
    return {(text.get_position()[1], text.get_position()[0]): int(text.get_text()) for text in axes.texts}


def test_the_counts_stand_in_their_cells_and_the_colours_are_shares_of_the_rows() -> None:
    counts = {"train": _random_counts(0, 4), "test": _random_counts(1, 4)}
    *panels, bar = plots.confusion_matrices(counts, ["a", "b", "c", "d"]).axes
    for axes, matrix in zip(panels, counts.values(), strict=True):
        expected = {(row, column): int(matrix[row, column]) for row in range(4) for column in range(4)}
        assert _written(axes) == expected
        shares = np.asarray(axes.images[0].get_array())
        for row in range(4):
            for column in range(4):
                assert shares[row, column] == pytest.approx(int(matrix[row, column]) / int(matrix[row].sum()))
        assert _names(axes)[0] == ["a", "b", "c", "d"]
    assert _names(panels[0])[1] == ["a", "b", "c", "d"]
    assert panels[0].get_ylabel() == "true class"
    assert bar.get_ylabel() == "share of a row (square-root scale);\nwhite: no image"


def test_the_title_says_the_accuracy_and_the_number_of_images() -> None:
    axes = plots.confusion_matrices({"test": [[900, 100], [0, 3000]]}, ["a", "b"]).axes[0]
    assert axes.get_title().replace("\n", " ") == "test: 97.50 % of 4,000 images right"


def test_zeros_are_white_and_unwritten_and_rows_without_images_are_grey() -> None:
    axes, bar = plots.confusion_matrices({"test": [[2, 0], [0, 0]]}, ["a", "b"]).axes
    assert _written(axes) == {(0, 0): 2}
    image = axes.images[0]
    colors = image.to_rgba(np.asarray(image.get_array()))
    assert colors[0, 1].tolist() == [1, 1, 1, 1]
    assert colors[1, 0].tolist() == pytest.approx([0xDD / 255] * 3 + [1])
    assert "grey: none in the row" in bar.get_ylabel()


@pytest.mark.parametrize("num_classes", [1, 2, 12, 13, 40])
def test_counts_are_written_up_to_twelve_classes_and_names_up_to_forty(num_classes: int) -> None:
    names = [f"class {i}" for i in range(num_classes)]
    figure = plots.confusion_matrices({"test": _random_counts(2, num_classes)}, names)
    axes = figure.axes[0]
    assert _names(axes) == (names, names)
    assert len(axes.texts) == (num_classes**2 if num_classes <= 12 else 0)
    assert max(figure.get_size_inches()) < 10


def test_of_659_classes_the_thirty_with_most_confusions_in_all_splits_are_drawn_with_their_shares_of_all_images() -> None:
    train, test = np.diag(np.full(659, 20)), np.diag(np.full(659, 20))
    for i in range(20):
        train[10 * i, 10 * i + 1] = 5
    for i in range(3):
        test[600, 601 + i] = 1 + i
    *panels, _ = plots.confusion_matrices({"train": train, "test": test}, [str(i) for i in range(659)]).axes
    # 600 is confused six times, the 40 of train five times, 603 three times: 600 and the first 29 of the 40 remain.
    expected = sorted([600, *sorted([10 * i for i in range(20)] + [10 * i + 1 for i in range(20)])[:29]])
    assert _names(panels[0])[1] == [str(i) for i in expected]
    assert np.asarray(panels[0].images[0].get_array())[0, 1] == pytest.approx(5 / 25)
    assert np.asarray(panels[1].images[0].get_array())[-1, -1] == pytest.approx(20 / 26)
    assert "the 30 of 659 classes that are confused most" in panels[0].get_figure().get_suptitle().replace("\n", " ")  # type: ignore[union-attr]


def test_of_many_classes_without_any_confusion_the_first_thirty_are_drawn_and_with_few_only_those() -> None:
    perfect = np.diag(np.full(50, 3))
    names = [str(i) for i in range(50)]
    assert _names(plots.confusion_matrices({"test": perfect}, names).axes[0])[0] == names[:30]
    perfect[7, 9] = 1
    assert _names(plots.confusion_matrices({"test": perfect}, names).axes[0])[0] == ["7", "9"]


@pytest.mark.parametrize(("counts", "names"), [({}, []), ({"test": np.zeros((0, 0))}, []), ({}, ["a"])])
def test_where_nothing_was_counted_it_is_said(counts: dict[str, np.ndarray], names: Sequence[str]) -> None:
    (axes,) = plots.confusion_matrices(counts, names).axes
    assert axes.texts[0].get_text() == "no confusions were counted"


def test_a_split_without_images_and_classes_without_a_name_are_drawn() -> None:
    axes = plots.confusion_matrices({"test": torch.zeros(3, 3)}, ["only"]).axes[0]
    assert axes.get_title() == "test: no images"
    assert _names(axes)[1] == ["only", "class 1", "class 2"]


def test_matrices_stand_above_each_other_where_there_are_many_names_to_read() -> None:
    few, many = (
        plots.confusion_matrices(dict.fromkeys(["a", "b"], _random_counts(3, n)), [str(i) for i in range(n)]) for n in (9, 20)
    )
    assert few.get_figwidth() > few.get_figheight()
    assert many.get_figwidth() < many.get_figheight()
