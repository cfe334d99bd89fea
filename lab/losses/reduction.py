"""What all losses do alike: compute in float32, and be 0 rather than NaN where there is nothing to compute."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor


@contextmanager
def in_float32(values: Tensor) -> Iterator[Tensor]:
    """Switch autocast off and yield the values in float32, or in float64 where they have it."""
    is_on = torch.is_autocast_enabled(values.device.type)  # to switch off what is not on takes as long as a small loss
    with torch.autocast(values.device.type, enabled=False) if is_on else nullcontext():
        yield values.to(torch.promote_types(values.dtype, torch.float32))


def mean(losses: Tensor) -> Tensor:
    """Return the mean of losses (M,); 0, still connected to what they were computed from, where M is 0."""
    return losses.sum() / max(1, len(losses))
