"""Hyperparameter search: many runs of one config, told apart by values from a space, and the best of them."""

from lab.sweep.command import sweep

__all__ = ["sweep"]
