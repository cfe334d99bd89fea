"""What figures are drawn from: tensors of any device and type, arrays, lists, all brought to one form."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

Values: TypeAlias = Tensor | npt.ArrayLike
Floats: TypeAlias = npt.NDArray[np.float32]
Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]


def floats(values: Values) -> Floats:
    """Return values of any shape as float32, as which a figure of a tensor and one of an array are the same."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().float().numpy()
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is drawn as such
        return np.asarray(values, dtype=np.float32)


def integers(values: Values) -> Integers:
    """Return labels or counts of any shape as int64."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().long().numpy()
    return np.asarray(values).astype(np.int64)


def booleans(values: Values) -> Booleans:
    """Return yes or no of any shape as bool."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().bool().numpy()
    return np.asarray(values).astype(np.bool_)
