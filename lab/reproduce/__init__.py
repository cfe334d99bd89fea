"""Every experiment of ``configs/experiments``, run and set beside what was reported of it."""

from lab.reproduce.command import reproduce

__all__ = ["reproduce"]
