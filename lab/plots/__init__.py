"""Figures from arrays: tensors or arrays in, a ``matplotlib.figure.Figure`` out.

Nothing goes through pyplot, so that figures can be drawn in any thread and without a screen.
"""

from lab.plots.curves import History, compare_curves, learning_curves, score_comparison
from lab.plots.diagram import network_diagram
from lab.plots.distances import distance_histograms, reliability
from lab.plots.embedding import pca_and_tsne
from lab.plots.layers import Layer
from lab.plots.matrices import confusion_matrices
from lab.plots.pictures import pair_grid, query_rows, sample_batch
from lab.plots.search import importances, parallel_coordinates
from lab.plots.style import png_bytes
from lab.plots.suspicious import suspicious_labels
from lab.plots.timings import growth, timings
from lab.plots.verification import roc_and_det
from lab.plots.weights import weight_grid

__all__ = [
    "History",
    "Layer",
    "compare_curves",
    "confusion_matrices",
    "distance_histograms",
    "growth",
    "importances",
    "learning_curves",
    "network_diagram",
    "pair_grid",
    "parallel_coordinates",
    "pca_and_tsne",
    "png_bytes",
    "query_rows",
    "reliability",
    "roc_and_det",
    "sample_batch",
    "score_comparison",
    "suspicious_labels",
    "timings",
    "weight_grid",
]
