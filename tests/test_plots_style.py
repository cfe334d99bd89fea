import ast
import functools
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from lab import plots
from lab.plots.inputs import booleans, floats, integers
from lab.plots.lettering import counted, fitted, percent, readable, shortened, width_of
from lab.plots.style import COLORS, MARKERS, new_figure

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
PLOTS = Path(plots.__file__).parent
ODD_NAMES = ["$x_1$", "_hidden", "日本", "naïve Ω", "a\nb\tc", "😀", "50 % of $5 and $6", ""]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _history() -> dict[str, tuple[list[float], list[float]]]:
    return {"train/loss": ([1, 2, 3], [0.9, 0.5, 0.3]), "val/loss": ([1, 2, 3], [1.0, 0.7, 0.6])}


Draw = Callable[[Callable[[torch.Tensor], object]], Figure]
FIGURES: dict[str, Draw] = {  # each drawn from tensors that a function turns into what is to be drawn from
    "learning_curves": lambda turn: plots.learning_curves(_history(), 2),
    "compare_curves": lambda turn: plots.compare_curves({name: _history() for name in ODD_NAMES}, "val/loss"),
    "score_comparison": lambda turn: plots.score_comparison(dict.fromkeys(ODD_NAMES, (0.9, 0.8, 1.0)), "$a_b$"),
    "timings": lambda turn: plots.timings({name: {name: [1.0, 2.5, 900.0], "$b$": [7.0]} for name in ODD_NAMES}),
    "growth": lambda turn: plots.growth({name: {name: {1: 2.0, 1000: 30.0}, "$b$": {10: 1.0}} for name in ODD_NAMES[:3]}),
    "confusion_matrices": lambda turn: plots.confusion_matrices(
        {"$train$": turn(torch.arange(64).reshape(8, 8))},  # type: ignore[dict-item]
        ODD_NAMES,
    ),
    "roc_and_det": lambda turn: plots.roc_and_det(
        turn(torch.linspace(0, 1, 9)),  # type: ignore[arg-type]
        turn(torch.linspace(1, 0, 9).square()),  # type: ignore[arg-type]
        (0.2, 0.3),
        0.8,
        0.25,
    ),
    "distance_histograms": lambda turn: plots.distance_histograms(
        turn(torch.rand(40, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.arange(40) % 2 == 0),  # type: ignore[arg-type]
        0.5,
        "$d_1$",
    ),
    "reliability": lambda turn: plots.reliability(
        turn(torch.rand(40, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.arange(40) % 2 == 0),  # type: ignore[arg-type]
    ),
    "pca_and_tsne": lambda turn: plots.pca_and_tsne(
        turn(torch.rand(16, 3, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.arange(16) % 8),  # type: ignore[arg-type]
        turn(torch.rand(8, 3, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.arange(8)),  # type: ignore[arg-type]
        ODD_NAMES,
    ),
    "sample_batch": lambda turn: plots.sample_batch(
        turn(torch.randn(8, 1, 4, 4, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.arange(8)),  # type: ignore[arg-type]
        ODD_NAMES,
    ),
    "pair_grid": lambda turn: plots.pair_grid(
        turn(torch.randn(8, 3, 4, 4, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.zeros(8, 3, 4, 4)),  # type: ignore[arg-type]
        ODD_NAMES,
        "$pairs$ $of$",
    ),
    "query_rows": lambda turn: plots.query_rows(
        turn(torch.randn(8, 1, 4, 4, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.randn(8, 2, 1, 4, 4, generator=_generator())),  # type: ignore[arg-type]
        ODD_NAMES,
        [[name, name] for name in ODD_NAMES],
        turn(torch.arange(16).reshape(8, 2) % 3 == 0),  # type: ignore[arg-type]
    ),
    "suspicious_labels": lambda turn: plots.suspicious_labels(
        turn(torch.randn(8, 1, 4, 4, generator=_generator())),  # type: ignore[arg-type]
        turn(torch.arange(8)),  # type: ignore[arg-type]
        turn(torch.arange(8).flip(0)),  # type: ignore[arg-type]
        turn(torch.rand(8, generator=_generator())),  # type: ignore[arg-type]
        ODD_NAMES,
    ),
    "parallel_coordinates": lambda turn: plots.parallel_coordinates(
        {"$lr_1$": [0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.3, 0.1], "日本": ODD_NAMES},
        [0.1, 0.5, 0.3, 0.2, 0.9, 0.8, 0.7, 0.6],
        "$score$",
        [True] * 8,
    ),
    "importances": lambda turn: plots.importances(dict.fromkeys(ODD_NAMES, 1 / 8), "$score$", 8),
    "weight_grid": lambda turn: plots.weight_grid(
        turn(torch.randn(4, 1, 3, 3, generator=_generator())),  # type: ignore[arg-type]
        "$w_1$ 日本",
    ),
    "network_diagram": lambda turn: plots.network_diagram(
        [plots.Layer(name, name, (4,), 3, branches=2) for name in ODD_NAMES], "$net$"
    ),
}
every_figure = pytest.mark.parametrize("name", FIGURES)


@functools.cache
def _drawn(name: str) -> tuple[Figure, bytes]:
    """Draw a figure of tensors, once for all tests that look at it."""
    figure = FIGURES[name](lambda tensor: tensor)
    return figure, plots.png_bytes(figure)


def test_every_public_figure_is_drawn_in_these_tests() -> None:
    assert set(FIGURES) == set(plots.__all__) - {"History", "Layer", "png_bytes"}


@every_figure
def test_the_same_input_gives_the_same_bytes_whether_as_tensor_or_as_array(name: str) -> None:
    assert plots.png_bytes(FIGURES[name](lambda tensor: tensor.numpy())) == _drawn(name)[1]


@every_figure
def test_no_text_is_a_formula_and_none_has_a_character_that_cannot_be_drawn(name: str) -> None:
    texts = [text for text in _drawn(name)[0].findobj(Text) if isinstance(text, Text)]
    assert texts
    for text in texts:
        assert "$" not in text.get_text() or not text.get_parse_math()
        assert all(character == readable(character) for character in text.get_text() if character not in " \n")


@every_figure
def test_nothing_reaches_over_the_edge_of_its_figure(name: str) -> None:
    figure = _drawn(name)[0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -1e-6


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.bool])
def test_values_of_any_type_become_float32_and_gradients_are_left_behind(kind: torch.dtype) -> None:
    values = torch.tensor([0, 1, 1], dtype=kind)
    assert floats(values).dtype == np.float32
    assert floats(values).tolist() == [0, 1, 1]
    assert floats(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    assert floats([1e300])[0] == np.inf
    assert integers(values).dtype == np.int64
    assert booleans(values).tolist() == [False, True, True]


def test_figures_drawn_in_threads_are_those_drawn_one_after_another() -> None:
    names = ["learning_curves", "sample_batch", "confusion_matrices", "network_diagram"]
    expected = [_drawn(name)[1] for name in names]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: plots.png_bytes(FIGURES[name](lambda tensor: tensor)), names)) == expected


def test_the_room_imports_no_pyplot_and_changes_no_settings_that_threads_share() -> None:
    for path in PLOTS.glob("*.py"):
        tree = ast.parse(path.read_text())
        words = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute)]
        assert not [word for word in words if "pyplot" in word or "pylab" in word or "rcParams" in word or ".use" in word], path


def test_a_figure_becomes_a_white_png_of_150_dots_an_inch() -> None:
    with Image.open(io.BytesIO(plots.png_bytes(new_figure(2, 1)))) as picture:
        assert (picture.format, picture.size) == ("PNG", (300, 150))
        assert picture.convert("RGB").getextrema() == ((255, 255),) * 3


def test_a_text_keeps_to_its_width_and_its_lines_and_shows_its_ends() -> None:
    text = "Alphabet_of_the_Magi/character07 is at a distance of 0.21"
    for inches in (0.5, 1.0, 2.0):
        for lines in (1, 2, 3):
            rows = fitted(text, inches, 8, lines).split("\n")
            assert len(rows) <= lines
            assert all(width_of(row, 8) <= inches for row in rows)
    assert fitted(text, 9, 8) == text
    assert shortened("character07", 7) == "cha…r07"
    assert fitted("", 1, 8) == ""


def test_names_are_read_as_they_are_and_what_no_font_has_is_spelled() -> None:
    assert readable("naïve Ω $x_1$") == "naïve Ω $x_1$"
    assert readable("a\n\tb") == "a b"
    assert readable("\ud800") == "\\ud800"
    assert readable("\U000f0000") == "\\U000f0000"


def test_numbers_are_said_in_words() -> None:
    assert [counted(number, "image") for number in (0, 1, 4000)] == ["0 images", "1 image", "4,000 images"]
    assert [percent(share) for share in (0.0, 0.0001, 0.5, float("nan"))] == ["0.0 %", "< 0.1 %", "50.0 %", "unknown"]


def test_ten_classes_differ_in_their_markers_and_colours_in_grey() -> None:
    assert len(set(MARKERS)) == 10
    assert len(set(COLORS)) == 8
