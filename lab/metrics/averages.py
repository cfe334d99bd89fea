"""Averages over all images of values that come as averages over a batch."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, inference_mode, tensor
from torchmetrics import Metric


class ExactMetric(Metric):
    """A metric that keeps its numbers in float32 where a model is converted to a lower precision."""

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> Any:
        before = dict(self._numbers())
        super()._apply(fn, exclude_state)
        for name, number in self._numbers():
            if number.dtype.itemsize < before[name].dtype.itemsize:  # the number itself, not what rounding has left of it
                setattr(self, name, before[name].to(number.device))
        return self

    def _numbers(self) -> list[tuple[str, Tensor]]:
        names = [*self._defaults, *self._buffers]
        return [(name, getattr(self, name)) for name in names if isinstance(getattr(self, name), Tensor)]


class Averages(ExactMetric):
    """The mean over images, batches and ranks of named values; much cheaper a step than Lightning's own ``log``.

    It is made for ``update`` and ``compute``: the names are those of the first update.
    """

    full_state_update = False
    num_averaged: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("num_averaged", default=tensor(0.0), dist_reduce_fx="sum")
        self.names: list[str] = []

    def update(self, values: dict[str, Tensor], num_images: int) -> None:
        """Add values, each a mean over ``num_images`` images, by name; every batch has the same names.

        Where they are means over something else, such as pairs, ``num_averaged`` among them says of how many; what is of none
        at all does not count.
        """
        num = int(values.get("num_averaged", num_images))
        names = values.keys() - {"num_averaged"}
        with inference_mode(False):  # else what is made while evaluating could not be used while training
            for name in sorted(names - set(self.names)):  # in one order on all ranks, by which they are summed
                self.add_state(f"total_{name}", default=self.num_averaged.new_zeros(()), dist_reduce_fx="sum")
        self.names = sorted(names | set(self.names))
        self.num_averaged += num
        for name in names if num else ():
            getattr(self, f"total_{name}").add_(values[name].detach(), alpha=num)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each value by name; none of what was a mean of nothing each time."""
        if not self.num_averaged:
            return {}
        return {name: getattr(self, f"total_{name}") / self.num_averaged for name in self.names}
