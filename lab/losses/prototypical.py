"""Cross-entropy over the distances to class means."""

import torch
from torch import Tensor, nn

from lab.losses.inputs import Input
from lab.losses.reduction import in_float32


class PrototypicalLoss(nn.Module):
    """Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", 2017, equations 1 and 2.

    The first ``num_shots`` images of each class in the batch are its support, and their mean embedding is its prototype c.
    Every other image is a query: ``p(class k | x) = softmax over k of -||f(x) - c_k|| ** 2``; the loss is the mean of
    ``-log p`` over the queries.

    Args:
        num_shots: images of each class that form its prototype; the batch needs more of each to ask about.
    """

    takes: Input = "embeddings"

    def __init__(self, num_shots: int = 1) -> None:
        super().__init__()
        if num_shots < 1:
            raise ValueError(f"PrototypicalLoss: num_shots must be 1 or more, not {num_shots}")
        self.num_shots = num_shots

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of embeddings (N, D) and labels (N,).

        A batch without a query, or of one class, gives 0, still connected to the embeddings.
        """
        with in_float32(embeddings) as embeddings:
            classes, label = labels.unique(return_inverse=True)
            is_support = rank_in_class(label) < self.num_shots
            queries, asked = embeddings[~is_support], label[~is_support]
            if len(queries) == 0:
                return embeddings.sum() * 0.0
            members = nn.functional.one_hot(label[is_support], len(classes)).to(embeddings.dtype)  # (supports, classes)
            prototypes = members.T @ embeddings[is_support] / members.sum(0).unsqueeze(1)
            distances = torch.cdist(queries, prototypes, compute_mode="donot_use_mm_for_euclid_dist").square()
            return nn.functional.cross_entropy(-distances, asked)


def rank_in_class(labels: Tensor) -> Tensor:
    """Number the images of each class from 0 in the order of the batch, from labels (N,)."""
    order = torch.argsort(labels, stable=True)
    _, counts = torch.unique_consecutive(labels[order], return_counts=True)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(labels), device=labels.device) - starts
    return ranks
