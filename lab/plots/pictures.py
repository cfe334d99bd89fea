"""Images as a network gets them: a batch, pairs, and what was found for a query."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lab.plots.inputs import Floats, Values, booleans, integers
from lab.plots.lettering import class_name, counted, fitted, readable, width_of
from lab.plots.sheet import (
    LINE,
    as_batch,
    empty_sheet,
    for_display,
    new_sheet,
    put_framed,
    range_note,
    range_of,
    size_on_sheet,
)
from lab.plots.style import BLACK, GREY, RIGHT, SMALL, WRONG, finished

COLUMNS, MAX_IMAGES = 6, 48
PAIR_COLUMNS, MAX_PAIRS = 3, 30
MAX_QUERIES, MAX_NEIGHBORS = 16, 8
SIDE, GAP = 0.85, 0.15  # inches
BESIDE, HEAD = 0.2, 0.25  # between a query and its images, and above them


def sample_batch(
    images: Values, labels: Values, class_names: Sequence[str], title: str = "A batch as the network gets it"
) -> Figure:
    """Draw images with the names of their classes, at most 48; the darkest value of the batch is black, the brightest white.

    Args:
        images: floats (N, C, H, W) of any range, as the network gets them.
        labels: (N,).
        class_names: the names of the labels.
        title: what images these are.
    """
    batch, numbers = as_batch(images), integers(labels)
    if len(batch) == 0:
        return finished(empty_sheet(title, "no images"))
    limits = range_of(batch)
    first = f"the first {MAX_IMAGES} of " * (len(batch) > MAX_IMAGES)
    title = f"{title}: {first}{counted(len(batch), 'image')}; {range_note(limits, batch)}"
    shown = for_display(batch[:MAX_IMAGES], limits)
    high = size_on_sheet(batch.shape, SIDE)[1]
    names = [fitted(class_name(class_names, int(number)), SIDE + 0.6 * GAP, SMALL, lines=2) for number in numbers[: len(shown)]]
    cell = SIDE + GAP, high + 0.05 + _height_of(names) + 0.06
    columns = min(COLUMNS, len(shown))
    figure, axes = new_sheet(columns * cell[0], -(-len(shown) // columns) * cell[1], title)
    for place, picture in enumerate(shown):
        left, top = place % columns * cell[0] + GAP / 2, place // columns * cell[1]
        put_framed(axes, picture, left, top, SIDE)
        axes.text(left + SIDE / 2, top + high + 0.05, names[place], ha="center", va="top", fontsize=SMALL, linespacing=1.2)
    return finished(figure)


def pair_grid(first: Values, second: Values, captions: Sequence[str], title: str) -> Figure:
    """Draw pairs of images side by side, at most 30, each pair with its caption below.

    Args:
        first: floats (M, C, H, W) of any range; second: (M, C, H, W), to be seen beside the first.
        captions: of each pair, such as ``3 | 8, distance 0.21, called same``; two lines of it are shown.
        title: what pairs these are.
    """
    left_images, right_images = as_batch(first), as_batch(second)
    if len(left_images) == 0:
        return finished(empty_sheet(title, "no pairs"))
    limits = range_of(left_images, right_images)
    number = f"the first {MAX_PAIRS} of " * (len(captions) > MAX_PAIRS) + counted(len(captions), "pair")
    lefts, rights = (for_display(images[:MAX_PAIRS], limits) for images in (left_images, right_images))
    texts = [fitted(caption, 2 * SIDE + GAP, SMALL, lines=2) for caption in captions[:MAX_PAIRS]]
    high = max(size_on_sheet(images.shape, SIDE)[1] for images in (left_images, right_images))
    cell = 2 * SIDE + 2 * GAP, high + 0.05 + _height_of(texts) + 0.1
    columns = min(PAIR_COLUMNS, len(lefts))
    height = -(-len(lefts) // columns) * cell[1]
    figure, axes = new_sheet(columns * cell[0], height, f"{readable(title)}: {number}; {range_note(limits, left_images)}")
    for place, (one, two, text) in enumerate(zip(lefts, rights, texts, strict=True)):
        left, top = place % columns * cell[0] + GAP, place // columns * cell[1]
        put_framed(axes, one, left, top, SIDE)
        put_framed(axes, two, left + SIDE + 0.03, top, SIDE)
        axes.text(left + SIDE, top + high + 0.05, text, ha="center", va="top", fontsize=SMALL, linespacing=1.2)
    return finished(figure)


def query_rows(
    queries: Values,
    neighbors: Values,
    query_captions: Sequence[str],
    neighbor_captions: Sequence[Sequence[str]],
    right: Values | None,
    title: str = "Queries and their nearest images",
    summary: str | None = None,
    max_neighbors: int = MAX_NEIGHBORS,
) -> Figure:
    """Draw queries, each with the images that are nearest to it, at most 16 with 8; right and wrong ones look different.

    Args:
        queries: floats (Q, C, H, W) of any range; neighbors: (Q, K, C, H, W), the nearest first.
        query_captions: of each query; neighbor_captions: of each query, those of its K images. Two lines are shown.
        right: bool (Q, K), whether an image is of its query's class; None where that is not known.
        title: what is searched by what.
        summary: what is found, and what right means; None for how often the nearest image is right.
        max_neighbors: shown of each query at most.
    """
    asked = as_batch(queries)
    marks = booleans(np.zeros(np.shape(neighbors)[:2], dtype=bool) if right is None else right)
    if len(asked) == 0 or marks.size == 0:
        return finished(empty_sheet(title, "no queries" if len(asked) == 0 else "no images were found"))
    marks = marks.reshape(len(asked), -1)
    found = as_batch(neighbors).reshape(-1, *asked.shape[1:]).reshape(*marks.shape, *asked.shape[1:])
    limits = range_of(asked, found)
    rows, depth = min(MAX_QUERIES, len(asked)), min(max_neighbors, marks.shape[1])
    first = f"the first {rows} of " * (rows < len(asked))
    number = "1 query" if len(asked) == 1 else f"{len(asked):,} queries"
    summary = f"{first}{number}; the nearest image is right for {int(marks[:, 0].sum()):,}" if summary is None else summary
    title = f"{readable(title)}: {readable(summary)}; "
    asked_for = [_caption(caption, None) for caption in query_captions[:rows]]
    called = [
        [_caption(text, None if right is None else bool(mark)) for text, mark in zip(texts[:depth], row[:depth], strict=True)]
        for texts, row in zip(neighbor_captions[:rows], marks[:rows], strict=True)
    ]
    high = size_on_sheet(asked.shape, SIDE)[1]
    cell = SIDE + GAP, high + 0.1 + _height_of([*asked_for, *[text for texts in called for text in texts]]) + 0.12
    figure, axes = new_sheet((depth + 1) * cell[0] + BESIDE, rows * cell[1] + HEAD, title + range_note(limits, asked))
    for text, left in (("query", GAP / 2), ("nearest first", cell[0] + BESIDE + GAP / 2)):
        axes.text(left, 0, text, ha="left", va="top", fontsize=SMALL, color=GREY)
    for row, picture in enumerate(for_display(asked[:rows], limits)):
        top = HEAD + row * cell[1]
        put_framed(axes, picture, GAP / 2, top, SIDE)
        _write_below(axes, asked_for[row], GAP / 2, top + high, None)
        for place, neighbor in enumerate(for_display(found[row, :depth], limits)):
            left = (place + 1) * cell[0] + BESIDE + GAP / 2
            mark = None if right is None else bool(marks[row, place])
            _put_marked(axes, neighbor, left, top, mark)
            _write_below(axes, called[row][place], left, top + high, mark)
    return finished(figure)


def _height_of(texts: Sequence[str]) -> float:
    """Return the height in inches of the text with most lines."""
    return LINE * SMALL * (1 + max(text.count("\n") for text in texts))


def _caption(text: str, right: bool | None) -> str:
    """Return a caption as it stands below a picture, with a tick or a cross before it where it is right or wrong."""
    mark = {None: "", True: "✓ ", False: "✗ "}[right]
    return mark + fitted(text, SIDE + 0.7 * GAP - width_of(mark, SMALL), SMALL, lines=2)


def _put_marked(axes: Axes, picture: Floats, left: float, top: float, right: bool | None) -> None:
    """Draw a picture in a frame, whole around a right one and broken around a wrong one."""
    put_framed(axes, picture, left, top, SIDE)
    if right is None:
        return
    look: dict[str, Any] = {"edgecolor": RIGHT if right else WRONG, "linestyle": "-" if right else (0, (3, 1.5))}
    high = size_on_sheet(picture.shape[:2], SIDE)[1]
    axes.add_patch(Rectangle((left - 0.02, top - 0.02), SIDE + 0.04, high + 0.04, fill=False, linewidth=2.2, **look))


def _write_below(axes: Axes, text: str, left: float, bottom: float, right: bool | None) -> None:
    """Write a caption below a picture, in the colour of its frame, darkened, as letters are thin."""
    ink = {None: BLACK, True: "#00604A", False: "#A34700"}[right]
    x, y = left + SIDE / 2, bottom + 0.07
    axes.text(x, y, text, ha="center", va="top", fontsize=SMALL, color=ink, linespacing=1.2)
