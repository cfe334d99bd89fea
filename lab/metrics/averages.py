"""Averages over all images of values that come as averages over a batch."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


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

    The values of batches are kept and added up at the end, in float64, so that it is all the same which rank had which batch.
    It is made for ``update`` and ``compute``: the names are those of the first update.
    """

    full_state_update = False
    weights: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("weights", default=[], dist_reduce_fx="cat")
        self.names: list[str] = []

    def update(self, values: dict[str, Tensor], num_images: int) -> None:
        """Add values, each a mean over ``num_images`` images, by name; every batch has the same names.

        Where they are means over something else, such as pairs, ``num_averaged`` among them says of how many; what is of none
        at all does not count.
        """
        values = dict(values)
        num = float(values.pop("num_averaged", num_images))
        if values.keys() != set(self.names):
            self._add(values)
        for name, value in values.items():
            getattr(self, f"values_{name}").append(value.detach().float().reshape(1))
        self.weights.append(torch.full((1,), num, dtype=torch.float32, device=value.device))

    def _add(self, names: Iterable[str]) -> None:
        for name in sorted(names):  # in one order on all ranks, by which they are gathered
            if name not in self.names:
                self.add_state(f"values_{name}", default=[], dist_reduce_fx="cat")
        self.names = sorted({*self.names, *names})

    def kept(self) -> dict[str, Tensor]:
        """Return what was added so far, to go on from."""
        states = {"weights": self.weights, **{f"values_{name}": getattr(self, f"values_{name}") for name in self.names}}
        return {name: dim_zero_cat(values).cpu() for name, values in states.items() if len(values)}

    def restore(self, kept: dict[str, Tensor]) -> None:
        """Go on from what was kept."""
        self.reset()
        for name, values in kept.items():
            if name not in self._defaults:
                self.add_state(name, default=[], dist_reduce_fx="cat")
            setattr(self, name, [values.to(self.device)])
        self.names = sorted(name.removeprefix("values_") for name in kept if name != "weights")

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each value by name, float32; none of what was a mean of nothing each time."""
        weights = dim_zero_cat(self.weights).cpu().double() if len(self.weights) else torch.zeros(0)
        counted = weights > 0
        if not counted.any():
            return {}
        means = {}
        for name in self.names:
            values = dim_zero_cat(getattr(self, f"values_{name}"))
            total = (values.cpu().double()[counted] * weights[counted]).sum()
            means[name] = (total / weights.sum()).to(values)
        return means
