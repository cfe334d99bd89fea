"""How good an embedding is, accumulated over batches and ranks."""

from lab.metrics.embedding import EmbeddingMetrics

__all__ = ["EmbeddingMetrics"]
