"""Wrong labels on purpose."""

import torch
from torch import Tensor


def redraw_labels(labels: Tensor, num_classes: int, share: float, generator: torch.Generator) -> Tensor:
    """Redraw a share of the labels, each uniformly from all classes, so that some stay right by chance.

    Args:
        labels: int64 (N,).
        num_classes: number of classes.
        share: of the N labels that is redrawn, to within one, in [0, 1].
        generator: source of the draw.

    Returns:
        The labels (N,), changed where they were redrawn wrongly: ``share * (1 - 1 / num_classes)`` of them on average.
    """
    redrawn = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    noisy = labels.clone()
    noisy[redrawn] = torch.randint(num_classes, (len(redrawn),), generator=generator)
    return noisy
