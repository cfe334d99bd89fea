"""How good it is, accumulated over batches and ranks."""

from lab.metrics.averages import Averages
from lab.metrics.classification import ClassificationMetrics
from lab.metrics.collected import Collected, Results
from lab.metrics.embedding import EmbeddingMetrics
from lab.metrics.evaluation import Evaluation

__all__ = ["Averages", "ClassificationMetrics", "Collected", "EmbeddingMetrics", "Evaluation", "Results"]
