"""Images whose labels are doubted."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lab.plots.inputs import Values, floats, integers
from lab.plots.lettering import class_name, counted, fitted, width_of
from lab.plots.sheet import LINE, as_batch, empty_sheet, for_display, new_sheet, put_framed, range_note, range_of, size_on_sheet
from lab.plots.style import BLACK, GREY, SMALL, finished

COLUMNS, MAX_SUSPICIOUS = 10, 50
SIDE, GAP = 0.9, 0.25  # inches
BELOW = LINE * SMALL  # from one line of a caption to the next
SUGGESTED = "#00604A"  # the green of what is right, darkened, as letters are thin


def suspicious_labels(
    images: Values,
    labels: Values,
    suggested: Values,
    losses: Values,
    class_names: Sequence[str],
    num_images: int | None = None,
    true_labels: Values | None = None,
    title: str = "Training images whose labels are suspicious",
) -> Figure:
    """Draw images, at most 50, each with the label that it has, the one suggested and the loss of the first.

    Args:
        images: floats (N, C, H, W), the most suspicious first.
        labels: as they are, (N,); suggested: (N,); losses: (N,).
        class_names: the names of the labels.
        num_images: how many there are in all; None for N.
        true_labels: (N,), where wrong ones were made on purpose; None where they are not known.
        title: what images these are.
    """
    batch = as_batch(images)
    if len(batch) == 0:
        return finished(empty_sheet(title, "no images"))
    limits = range_of(batch)
    total = max(len(batch), num_images or 0)
    first = f"the first {min(len(batch), MAX_SUSPICIOUS)} of " * (total > min(len(batch), MAX_SUSPICIOUS))
    told = f"with the label, → the one suggested{', the true one' * (true_labels is not None)}, and the loss, highest first"
    title = f"{title}: {first}{counted(total, 'image')}, {told}"
    high = size_on_sheet(batch.shape, SIDE)[1]
    columns = [("label ", labels, BLACK), ("→ ", suggested, SUGGESTED)]
    columns += [("true ", true_labels, BLACK)] if true_labels is not None else []
    cell = SIDE + GAP, high + (len(columns) + 1) * BELOW + 0.2
    shown = for_display(batch[:MAX_SUSPICIOUS], limits)
    across = min(COLUMNS, len(shown))
    figure, axes = new_sheet(across * cell[0], -(-len(shown) // across) * cell[1], f"{title}; {range_note(limits, batch)}")
    judged = zip(*(integers(numbers).tolist() for _, numbers, _ in columns), floats(losses).tolist(), strict=True)
    for place, (picture, (*numbers, loss)) in enumerate(zip(shown, judged, strict=False)):
        left, top = place % across * cell[0] + GAP / 2, place // across * cell[1]
        put_framed(axes, picture, left, top, SIDE)
        named = zip(columns, numbers, strict=True)
        lines = [(word, class_name(class_names, int(number)), ink) for (word, _, ink), number in named]
        lines.append(("loss ", f"{loss:.2f}", GREY))
        for number, (word, text, ink) in enumerate(lines):
            x, y = left + SIDE / 2, top + high + 0.05 + number * BELOW
            text = word + fitted(text, SIDE + 0.8 * GAP - width_of(word, SMALL), SMALL)
            axes.text(x, y, text, ha="center", va="top", fontsize=SMALL, color=ink)
    return finished(figure)
