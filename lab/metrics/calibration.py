"""What is learned from validation pairs: the distance up to which a pair is called the same, and how probable that is."""

from typing import Literal

import torch
from torch import Tensor

from lab.metrics.verification import error_rates

OperatingPoint = Literal["best_accuracy", "equal_error"] | float


def check_operating_point(operating_point: OperatingPoint) -> None:
    """Make sure that an operating point is one.

    Raises:
        ValueError: if it is neither named rightly nor a share.
    """
    named = operating_point in ("best_accuracy", "equal_error")
    if not named and (isinstance(operating_point, str) or not 0 < operating_point < 1):
        raise ValueError(
            "model.evaluation.operating_point must be best_accuracy, equal_error or a false match rate between 0 and 1, not "
            f"{operating_point!r}"
        )


def threshold_for(operating_point: OperatingPoint, distances: Tensor, same: Tensor) -> Tensor:
    """Return the distance up to which pairs are called the same, a scalar between two distances that occur.

    Args:
        operating_point: ``best_accuracy`` makes the fewest errors on these pairs, ``equal_error`` false matches as frequent as
            false non-matches, a number at most this share of false matches and as few false non-matches as that allows. Of
            several thresholds that are equally good, the smallest.
        distances: (M,), M >= 1; same: bool (M,).
    """
    rates = error_rates(distances, same)
    false_match, false_non_match = rates.false_match_rate, rates.false_non_match_rate
    if operating_point == "best_accuracy":
        errors = false_match * rates.num_different + false_non_match * rates.num_same
        place = int(errors.round().argmin())
    elif operating_point == "equal_error":
        place = int((false_match - false_non_match).abs().argmin())
    else:
        place = int(false_non_match.masked_fill(false_match > operating_point, torch.inf).argmin())
    values = rates.thresholds
    if place == 0:
        return (values[1] - 1.0).to(distances)
    return ((values[place] + values[place + 1]) / 2 if place + 1 < len(values) else values[place] + 1.0).to(distances)


def fit_probability(distances: Tensor, same: Tensor, num_iterations: int = 100) -> tuple[Tensor, Tensor]:
    """Fit p(same | d) = sigmoid(offset - slope * d) to pairs, where same and different ones are as frequent.

    Platt, "Probabilistic Outputs for Support Vector Machines ...", 1999, with his targets, (n + 1) / (n + 2) in place of 1,
    so that distances that separate the pairs do not make it certain; Newton's method.

    Args:
        distances: (M,); same: bool (M,), both kinds among them, each kind weighted to half of all.
        num_iterations: at most; a few are enough.

    Returns:
        ``slope`` and ``offset``, float32 scalars.
    """
    values = distances.double()
    center, scale = values.mean(), values.std().clamp(min=1e-12)
    num_same = same.sum().double()
    num_different = len(same) - num_same
    target = torch.where(same, (num_same + 1) / (num_same + 2), 1 / (num_different + 2))
    weight = torch.where(same, 0.5 / num_same, 0.5 / num_different)
    inputs = torch.stack([(center - values) / scale, torch.ones_like(values)])  # (2, M)
    solution = values.new_zeros(2)
    tiny = 1e-12 * torch.eye(2, dtype=torch.float64, device=values.device)  # equal distances leave the slope open: 0

    def cross_entropy(coefficients: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(coefficients @ inputs, target, weight, reduction="sum")

    for _ in range(num_iterations):
        probability = torch.sigmoid(solution @ inputs)
        gradient = inputs @ (weight * (probability - target))
        curvature = (inputs * (weight * probability * (1 - probability))) @ inputs.T
        step = torch.linalg.solve(curvature + tiny, gradient)
        while cross_entropy(solution - step) > cross_entropy(solution) and step.abs().max() > 1e-12:
            step = step / 2
        solution = solution - step
        if step.abs().max() < 1e-10:
            break
    slope, offset = solution[0] / scale, solution[1] + solution[0] * center / scale
    return slope.float(), offset.float()
