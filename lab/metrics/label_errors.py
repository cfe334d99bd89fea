"""Wrong labels, found by what a model makes of images that it was not trained on.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021.
"""

import torch
from torch import Tensor

from lab.metrics.verification import area_under_roc, error_rates

ROUNDING = 1e-12  # the mean of equal numbers may be above them by that much


def label_losses(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return -log p of the label that each image has, float64 (N,); finite, however improbable that is.

    Args:
        probabilities: of each class, (N, C), by a model that has not seen the image.
        labels: as given, int64 (N,).
    """
    own = probabilities.double().gather(1, labels.unsqueeze(1)).squeeze(1)
    return -own.clamp_min(torch.finfo(torch.float64).tiny).log()


def ranking(losses: Tensor) -> Tensor:
    """Return the positions of losses (N,), the highest first, equal ones in their order."""
    return losses.argsort(descending=True, stable=True)


def class_thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return t_j, the mean of p_j over the images labelled j, float64 (C,); infinite where no image is labelled so.

    Args:
        probabilities: (N, C); labels: int64 (N,).
    """
    num_classes = probabilities.shape[1]
    own = probabilities.double().gather(1, labels.unsqueeze(1)).squeeze(1)
    counts = labels.bincount(minlength=num_classes)
    sums = torch.zeros(num_classes, dtype=torch.float64).index_add(0, labels, own)
    return (sums / counts).where(counts > 0, torch.inf)


def confident_classes(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the class that each image is counted as in the confident joint, int64 (N,); -1 where it is counted as none.

    That is the most probable class among those with p_j >= t_j. Of equally probable ones it is the label that the image has,
    as nothing speaks against it, or else the first.

    Args:
        probabilities: (N, C); labels: int64 (N,).
    """
    confident = probabilities >= class_thresholds(probabilities, labels) - ROUNDING
    among = probabilities.double().where(confident, -torch.inf)
    own, best = among.gather(1, labels.unsqueeze(1)).squeeze(1), among.amax(1)
    return among.argmax(1).where(own < best, labels).where(confident.any(1), -1)


def estimated_num_wrong(probabilities: Tensor, labels: Tensor) -> int:
    """Return how many labels are wrong by the confident joint, each of whose rows is made to add up to its images.

    Of the images labelled i that are counted at all, the share that is counted as another class is taken for that of all of
    them. A class of which none is counted adds nothing.

    Args:
        probabilities: (N, C); labels: int64 (N,).
    """
    num_classes = probabilities.shape[1]
    classes = confident_classes(probabilities, labels)
    counted = labels[classes >= 0].bincount(minlength=num_classes).double()
    others = labels[(classes >= 0) & (classes != labels)].bincount(minlength=num_classes).double()
    shares = (others / counted).where(counted > 0, 0.0)
    return round((shares * labels.bincount(minlength=num_classes)).sum().item())


def suspected(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which labels are taken for wrong, bool (N,), and the most probable class of each image, int64 (N,).

    They are those of highest loss among the labels that are not the most probable class, at most in the number that confident
    learning estimates. Of equally probable classes the label counts as the most probable one, as nothing speaks against it.

    Args:
        probabilities: (N, C); labels: int64 (N,).
    """
    probabilities = probabilities.double()
    own, best = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1), probabilities.amax(1)
    classes = probabilities.argmax(1).where(own < best, labels)
    order = ranking(label_losses(probabilities, labels))
    chosen = order[classes[order] != labels[order]][: estimated_num_wrong(probabilities, labels)]
    flags = torch.zeros_like(labels, dtype=torch.bool)
    flags[chosen] = True
    return flags, classes


def detection_scores(chosen: Tensor, losses: Tensor, wrong: Tensor) -> dict[str, float]:
    """Return how well wrong labels were found, by name, NaN where there is nothing to divide by.

    ``wrong_share`` is the share of wrong labels, which a list made at random would have as its ``precision``; ``auc`` and
    ``average_precision`` are the areas under the ROC and the precision-recall curve of the ranking by loss; ties are one step.

    Args:
        chosen: which labels are said to be wrong, bool (N,).
        losses: (N,).
        wrong: which are, bool (N,).
    """
    found = (chosen & wrong).sum().double()
    return {
        "wrong_share": wrong.double().mean().item(),
        "precision": (found / chosen.sum()).item(),
        "recall": (found / wrong.sum()).item(),
        "auc": area_under_roc(error_rates(-losses, wrong)).item(),
        "average_precision": _average_precision(losses, wrong),
    }


def _average_precision(losses: Tensor, wrong: Tensor) -> float:
    values, order = losses.double().sort(descending=True)
    last_of_its_value = torch.ones_like(wrong)
    last_of_its_value[:-1] = values[1:] != values[:-1]
    found = wrong[order].double().cumsum(0)[last_of_its_value]
    named = torch.arange(1, len(values) + 1)[last_of_its_value]
    steps = found.diff(prepend=found.new_zeros(1)) / wrong.sum()
    return (steps * found / named).sum().item()
