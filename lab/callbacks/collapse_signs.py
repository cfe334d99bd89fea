"""Signs of embeddings that have collapsed to one point."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LARGEST_GAP, FEWEST_ACTIVE = 0.12, 0.88  # which one class of ten that stands apart does not hide
LARGEST_SPREAD = 0.5  # as a share of that of the first measurement; batch-hard runs that learn well come down to 0.7


class Measurement(NamedTuple):
    """What one batch shows.

    Args:
        spread: median distance of embeddings to their median in each coordinate, as a share of their median length.
        active: share of images whose farthest image of their class is not nearer than the nearest of another.
        loss: of the batch; loss_at_a_point: what it would be if all embeddings were their mean.
    """

    spread: float
    active: float
    loss: float
    loss_at_a_point: float

    @property
    def gap(self) -> float:
        """How far the loss is from that of a single point, as a share of it."""
        return abs(self.loss - self.loss_at_a_point) / max(abs(self.loss_at_a_point), 1e-12)


def is_collapse(measured: Sequence[Measurement], first: Measurement) -> bool:
    """Return whether, in the mean, the loss is that of a point, nothing tells the classes apart, and something did once.

    Training that has not begun to show is where it was at first: the embeddings lie as far apart as then.
    """
    table = [(one.gap, one.active, one.spread) for one in measured]
    gap, active, spread = (statistics.fmean(values) for values in zip(*table, strict=True))
    return gap <= LARGEST_GAP and active >= FEWEST_ACTIVE and spread <= LARGEST_SPREAD * first.spread


def measure(embeddings: Tensor, labels: Tensor, loss: float, loss_at_a_point: float, cosine: bool) -> Measurement | None:
    """Measure a batch of embeddings (N, D) with labels (N,); None where no image has another of its class or of another."""
    if cosine:
        embeddings = torch.nn.functional.normalize(embeddings, dim=1)
    distances = torch.cdist(embeddings, embeddings)
    same = labels.unsqueeze(1) == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    asked = others.any(1) & ~same.all(1)
    if not asked.any():
        return None
    farthest = distances.masked_fill(~others, -torch.inf).amax(1)[asked]
    nearest = distances.masked_fill(same, torch.inf).amin(1)[asked]
    middle = embeddings.median(dim=0).values  # which a class that stands apart does not move
    spread = (embeddings - middle).norm(dim=1).median() / embeddings.norm(dim=1).median().clamp_min(1e-12)
    return Measurement(spread.item(), (farthest >= nearest).float().mean().item(), loss, loss_at_a_point)
