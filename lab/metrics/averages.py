"""Averages over all images of values that come as averages over a batch."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, tensor
from torchmetrics import Metric


class ExactMetric(Metric):
    """A metric that keeps its numbers in float32 where a model is converted to a lower precision."""

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> Any:
        before = {name: tensor.dtype for name, tensor in self._numbers()}
        super()._apply(fn, exclude_state)
        for name, number in self._numbers():
            if number.dtype.itemsize < before[name].itemsize:
                setattr(self, name, number.to(before[name]))
        return self

    def _numbers(self) -> list[tuple[str, Tensor]]:
        names = [*self._defaults, *self._buffers]
        return [(name, getattr(self, name)) for name in names if isinstance(getattr(self, name), Tensor)]


class Averages(ExactMetric):
    """The mean over images, batches and ranks of named values; much cheaper a step than Lightning's own ``log``.

    It is made for ``update`` and ``compute``: the names are those of the first update.
    """

    full_state_update = False
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("num_images", default=tensor(0.0), dist_reduce_fx="sum")
        self.names: list[str] = []

    def update(self, values: dict[str, Tensor], num_images: int) -> None:
        """Add values, each a mean over ``num_images`` images, by name; every batch has the same names."""
        for name in sorted(values.keys() - set(self.names)):  # in one order on all ranks, by which they are summed
            self.add_state(f"total_{name}", default=self.num_images.new_zeros(()), dist_reduce_fx="sum")
            self.names = sorted([*self.names, name])
        self.num_images += num_images
        for name, value in values.items():
            getattr(self, f"total_{name}").add_(value.detach(), alpha=num_images)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each value by name."""
        return {name: getattr(self, f"total_{name}") / self.num_images for name in self.names}
