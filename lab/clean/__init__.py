"""Finding wrong labels among the training images of a run."""

from lab.clean.command import clean

__all__ = ["clean"]
