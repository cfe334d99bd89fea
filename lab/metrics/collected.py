"""What an evaluation sees of a split, collected over batches and ranks and scored at the end."""

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lab.metrics.averages import ExactMetric

Part = Literal["images", "gallery", "trials"]
Intervals = dict[str, tuple[float, float]]


@dataclass
class Results:
    """All of a test, for its tables and pictures, in the order in which the loader gave the images.

    Args:
        outputs: what the model gives for the test images, embeddings or logits (N, D); labels: (N,).
        gallery: the same for the training images, or of logits the class predicted alone; gallery_labels: their labels.
        pairs: of verification: positions ``first`` and ``second`` (M,), ``same``, and ``distances``.
        intervals: the 95 % interval of scores, by name.
    """

    outputs: Tensor
    labels: Tensor
    gallery: Tensor | None = None
    gallery_labels: Tensor | None = None
    pairs: dict[str, Tensor] = field(default_factory=dict)
    intervals: Intervals = field(default_factory=dict)


class Collected(ExactMetric):
    """Collects outputs and labels; a metric of these scores them, and leaves ``results`` after a test.

    The images of a test may come in parts: the ``images`` themselves, the ``gallery`` of training images, and those of fixed
    one-shot ``trials``, whose labels are their numbers.
    """

    full_state_update = False
    parts: tuple[Part, ...] = ("images", "gallery")  # those that it has a use for
    results: Results | None = None
    calibrating = False  # whether what is seen is the validation split
    thorough = False  # whether it is the test split

    def __init__(self) -> None:
        super().__init__()
        for part in self.parts:
            self.add_state(part, default=[], dist_reduce_fx="cat")
            self.add_state(f"{part}_labels", default=[], dist_reduce_fx="cat")

    def update(self, outputs: Tensor, labels: Tensor, part: Part = "images") -> None:
        """Add outputs (N, D) with labels (N,) to a part of what is seen."""
        getattr(self, part).append(outputs.detach().float())
        getattr(self, f"{part}_labels").append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Return scores by name."""
        return {}

    def prepare(self, stage: str, data: Any) -> None:
        """Take note of what is seen: ``val`` or ``test``, of which data."""
        self.calibrating, self.thorough = stage == "val", stage == "test"

    def part(self, number: int, data: Any) -> Part:
        """Return what the test loader of this number gives, by the data's own word or in the usual order."""
        found: Part = getattr(data, "test_parts", ("images", "gallery", "trials"))[number]
        return found

    def collected(self, part: Part) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return outputs and labels of a part, on all ranks; None where there are none."""
        outputs = getattr(self, part, [])  # a list, or one tensor of all ranks
        return (dim_zero_cat(outputs), dim_zero_cat(getattr(self, f"{part}_labels"))) if len(outputs) else (None, None)
