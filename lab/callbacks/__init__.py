"""What happens beside training."""

from lab.callbacks.collapse import CollapseGuard
from lab.callbacks.defaults import default_callbacks, direction
from lab.callbacks.freeze import Freeze
from lab.callbacks.keeper import TERMINATED, Keeper
from lab.callbacks.max_norm import MaxNorm

__all__ = ["TERMINATED", "CollapseGuard", "Freeze", "Keeper", "MaxNorm", "default_callbacks", "direction"]
