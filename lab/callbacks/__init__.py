"""What happens beside training."""

from lab.callbacks.collapse import CollapseGuard
from lab.callbacks.defaults import default_callbacks, direction
from lab.callbacks.keeper import TERMINATED, Keeper

__all__ = ["TERMINATED", "CollapseGuard", "Keeper", "default_callbacks", "direction"]
