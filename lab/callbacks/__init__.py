"""What happens beside training."""

from lab.callbacks.defaults import default_callbacks

__all__ = ["default_callbacks"]
