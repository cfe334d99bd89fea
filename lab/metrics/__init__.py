"""How good it is, accumulated over batches and ranks."""

from lab.metrics.averages import Averages
from lab.metrics.embedding import EmbeddingMetrics

__all__ = ["Averages", "EmbeddingMetrics"]
