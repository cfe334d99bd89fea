"""One page of one run, or of several compared, as one HTML file that needs nothing else."""

from lab.report.command import report

__all__ = ["report"]
