"""Where images lie in the space a network maps them to, seen in two dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.plots.inputs import Floats, Integers, Values, floats, integers
from lab.plots.lettering import class_name, counted, percent, width_of
from lab.plots.style import PANEL, SMALL, color, describe, explain, finished, marker, new_figure, say

Points = npt.NDArray[np.float64]

MAX_POINTS = 1_000  # of either split
MAX_CLASSES = 10
LEAST_POINTS = 5  # with which t-SNE is tried
TITLE = (
    "Embeddings in two dimensions: PCA is fitted on training images and applied to test images, t-SNE is fitted on both at once"
)
COLLAPSED = 1e-5  # the spread, relative to the coordinates, up to which points are one point in float32


def pca_and_tsne(
    train: Values,
    train_labels: Values,
    test: Values,
    test_labels: Values,
    class_names: Sequence[str],
    classes: Sequence[int] | None = None,
) -> Figure:
    """Draw embeddings of training images, left, and of test images, right: by PCA above, by t-SNE below.

    PCA is fitted on the training images that are drawn and applied to the test images. t-SNE (van der Maaten and Hinton,
    "Visualizing Data using t-SNE", 2008) cannot be applied to others than it was fitted on, so it is fitted on both at once.
    Of either split at most 1,000 images are drawn, as evenly from the classes as there are, always the same ones.

    Args:
        train: embeddings (N, D); train_labels: (N,); test: (M, D); test_labels: (M,). Embeddings that are not finite are left
            out, which the figure says.
        class_names: the names of the labels.
        classes: the labels to draw, of which the first ten are; None for the first ten that are in both splits, or, where
            the splits share none, the first five of each.
    """
    labels, others = integers(train_labels), integers(test_labels)
    chosen = _classes_to_draw(labels, others, classes)
    left, left_labels, left_note = _draw_points(_as_rows(train), labels, chosen)
    right, right_labels, right_note = _draw_points(_as_rows(test), others, chosen)
    left, right = (points if len(points) else other[:0] for points, other in ((left, right), (right, left)))
    figure = new_figure(2 * PANEL, 2 * PANEL + 0.8, TITLE)
    panels = figure.subplots(2, 2, sharex="row", sharey="row")
    shown, axis_names, problem = _pca(left, right)
    numbers = counted(len(left), "training image"), counted(len(right), "test image")
    notes = left_note, right_note
    _draw_row(panels[0], shown, (left_labels, right_labels), chosen, problem)
    _describe_row(panels[0], [f"PCA: {number}" for number in numbers], axis_names, notes)
    shown, problem = _tsne(left, right)
    _draw_row(panels[1], shown, (left_labels, right_labels), chosen, problem)
    axis_names = ("t-SNE coordinate 1", "t-SNE coordinate 2")
    _describe_row(panels[1], [f"t-SNE of both: {number}" for number in numbers], axis_names, ([], []))
    _add_legend(figure, panels[0][0], chosen, class_names)
    return finished(figure)


def _as_rows(embeddings: Values) -> Floats:
    """Return embeddings (N, D), those of one number each or of images too."""
    rows = floats(embeddings)
    return rows.reshape(len(rows), -1) if rows.size else np.zeros((0, max(1, rows.shape[-1])), dtype=np.float32)


def _classes_to_draw(labels: Integers, others: Integers, classes: Sequence[int] | None) -> list[int]:
    if classes is not None:
        return list(classes)[:MAX_CLASSES]
    both = np.intersect1d(labels, others)
    if len(both) == 0 and len(others) > 0 and len(labels) > 0:
        both = np.concatenate([np.unique(labels)[: MAX_CLASSES // 2], np.unique(others)[: MAX_CLASSES // 2]])
    elif len(both) == 0:
        both = np.unique(np.concatenate([labels, others]))
    return [int(label) for label in both[:MAX_CLASSES]]


def _draw_points(embeddings: Floats, labels: Integers, classes: list[int]) -> tuple[Points, Integers, list[str]]:
    """Draw the images of a split that are shown; return their embeddings (n, D), labels (n,) and what is to be said of it."""
    wanted = np.isin(labels, classes)
    finite = np.isfinite(embeddings).all(1)
    missing = int((wanted & ~finite).sum())
    notes = [f"{counted(missing, 'image')} without a finite embedding left out"] * (missing > 0)
    generator = np.random.default_rng(0)
    rows = generator.permutation(np.flatnonzero(wanted & finite))
    rank = np.zeros(len(rows), dtype=np.int64)  # of an image among those of its class: low ranks of all classes come first
    for label in classes:
        of_class = labels[rows] == label
        rank[of_class] = np.arange(of_class.sum())
    kept = np.sort(rows[np.argsort(rank, kind="stable")[:MAX_POINTS]])
    return embeddings[kept].astype(np.float64), labels[kept], notes


def _is_one_point(points: Points) -> bool:
    return bool(np.ptp(points, axis=0).max() <= COLLAPSED * max(float(np.abs(points).max()), 1e-30))


def _pca(train: Points, test: Points) -> tuple[tuple[Points, Points], tuple[str, str], str]:
    """Return both splits (n, 2) in the first two principal components, what these are called, and why there are none."""
    empty, names = (np.zeros((0, 2)), np.zeros((0, 2))), ("principal component 1", "principal component 2")
    if len(train) < 2:
        return empty, names, "fewer than two training images: no PCA"
    if _is_one_point(train):
        return empty, names, "collapsed to one point: all training images have the same embedding"
    from sklearn.decomposition import PCA  # not at the top: it takes longer to import than all other figures need

    fitted = PCA(min(2, *train.shape), svd_solver="full").fit(train)
    places = [fitted.transform(points) if len(points) else np.zeros((0, fitted.n_components_)) for points in (train, test)]
    padded = [np.hstack([points, np.zeros((len(points), 2 - points.shape[1]))]) for points in places]
    shares = [f"{percent(float(share))} of the variance" for share in fitted.explained_variance_ratio_] + ["there is none"]
    return (padded[0], padded[1]), (f"{names[0]}: {shares[0]}", f"{names[1]}: {shares[1]}"), ""


def _tsne(train: Points, test: Points) -> tuple[tuple[Points, Points], str]:
    """Return both splits (n, 2) as t-SNE places them together, and why it does not."""
    empty, points = (np.zeros((0, 2)), np.zeros((0, 2))), np.concatenate([train, test])
    if len(points) < LEAST_POINTS:
        return empty, f"fewer than {LEAST_POINTS} images: no t-SNE"
    if _is_one_point(points):
        return empty, "collapsed to one point: all images have the same embedding"
    points = (points - points.mean(0)) / np.abs(points - points.mean(0)).max()
    if points.shape[1] == 1:
        points = np.hstack([points, np.zeros_like(points)])  # it begins with two principal components
    perplexity = min(30.0, (len(points) - 1) / 3)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):  # several threads add up in any order, and t-SNE makes much of little
        places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(points)
    return (places[: len(train)], places[len(train) :]), ""


def _draw_row(
    panels: Sequence[Axes],
    places: tuple[Points, Points],
    labels: tuple[Integers, Integers],
    classes: list[int],
    problem: str,
) -> None:
    """Draw both splits, a colour and a marker for each class."""
    for axes, points, point_labels in zip(panels, places, labels, strict=True):
        if problem:
            say(axes, problem)
            continue
        for number, label in enumerate(classes):
            x, y = points[point_labels == label].T
            axes.scatter(x, y, s=12, marker=marker(number), color=color(number), edgecolors="black", linewidths=0.2, alpha=0.75)
        if len(points) == 0:
            axes.text(0.5, 0.5, "no images", ha="center", va="center", fontsize=SMALL, transform=axes.transAxes)


def _describe_row(
    panels: Sequence[Axes], titles: list[str], names: tuple[str, str], notes: tuple[list[str], list[str]]
) -> None:
    """Set the titles and notes of both panels, and what their common axes are, the upright one at the left."""
    for place, (axes, title, note) in enumerate(zip(panels, titles, notes, strict=True)):
        describe(axes, title, names[0], names[1] if place == 0 else "", note)


def _add_legend(figure: Figure, axes: Axes, classes: list[int], class_names: Sequence[str]) -> None:
    if not classes:
        return
    handles = [
        axes.scatter([], [], s=24, marker=marker(i), color=color(i), edgecolors="black", linewidths=0.2)
        for i in range(len(classes))
    ]
    names = [class_name(class_names, label) for label in classes]
    columns = 5 if max(width_of(name, SMALL) for name in names) <= 0.75 else 4
    look: dict[str, Any] = {"fontsize": SMALL, "ncols": columns, "frameon": False, "handletextpad": 0.2}
    legend = figure.legend(handles, ["name"] * len(handles), loc="outside lower center", **look)
    explain(legend, names, 2 * PANEL / columns - 0.5)
