"""Verification scores: how well a distance tells same-class pairs from different-class pairs.

A pair is called the same where its distance is at most a threshold. A false match is a pair of two classes that is called the
same, a false non-match a pair of one class that is not (ISO/IEC 19795-1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FALSE_MATCH_RATES = (0.1, 0.01, 0.001, 0.0001)  # at which false non-matches are counted


@dataclass(frozen=True)
class ErrorRates:
    """The two error rates at every threshold that makes a difference, of one weighting of the pairs or of several.

    Args:
        thresholds: float64 (K,), ascending: below all distances, then each distance that occurs.
        false_match_rate: float64 (..., K), rising from 0 to 1; NaN where there is no pair of two classes.
        false_non_match_rate: float64 (..., K), falling from 1 to 0; NaN where there is no pair of one class.
        num_same, num_different: (..., 1), the pairs of either kind, as they are weighted.
        num_pairs_of_two: the pairs of two classes, whatever their weight.
    """

    thresholds: Tensor
    false_match_rate: Tensor
    false_non_match_rate: Tensor
    num_same: Tensor
    num_different: Tensor
    num_pairs_of_two: int

    def at(self, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """Return the false match rate and the false non-match rate, (...), at a threshold."""
        place = int(torch.searchsorted(self.thresholds, threshold.to(self.thresholds), right=True)) - 1
        place = max(place, 0)  # nothing is matched below all distances either
        return self.false_match_rate[..., place], self.false_non_match_rate[..., place]


def error_rates(distances: Tensor, same: Tensor, weights: Tensor | None = None) -> ErrorRates:
    """Count the errors at every threshold.

    Args:
        distances: (M,); same: bool (M,).
        weights: how much each pair counts, (..., M); None for 1 each.
    """
    values, order = distances.double().sort()
    last_of_its_value = torch.ones_like(same)
    last_of_its_value[:-1] = values[1:] != values[:-1]
    weights = torch.ones_like(values) if weights is None else weights[..., order].double()
    counts = []
    for kind in (same[order], ~same[order]):
        matched = (weights * kind).cumsum(-1)[..., last_of_its_value]
        counts.append(torch.nn.functional.pad(matched, (1, 0)))
    (matched_same, num_same), (matched_different, num_different) = ((count, count[..., -1:]) for count in counts)
    thresholds = torch.cat([values.new_full((1,), -torch.inf), values[last_of_its_value]])
    rates = matched_different / num_different, 1 - matched_same / num_same
    return ErrorRates(thresholds, *rates, num_same, num_different, int((~same).sum()))


def area_under_roc(rates: ErrorRates) -> Tensor:
    """Return the probability (...) that a same-class pair is nearer than a different-class pair, ties counting half."""
    area = torch.trapezoid(1 - rates.false_non_match_rate, rates.false_match_rate)
    return area.where((rates.num_same * rates.num_different).squeeze(-1) > 0, torch.nan)


def equal_error_rate(rates: ErrorRates) -> Tensor:
    """Return the error rate (...) at the threshold where both error rates are nearest to each other: their mean there."""
    at = (rates.false_match_rate - rates.false_non_match_rate).abs().argmin(-1, keepdim=True)
    return ((rates.false_match_rate + rates.false_non_match_rate) / 2).gather(-1, at).squeeze(-1)


def non_match_rate_at(rates: ErrorRates, false_match_rate: float) -> Tensor:
    """Return the lowest false non-match rate (...) at which no more than this share of different-class pairs is matched.

    NaN where there are too few of them for one false match to be allowed.
    """
    allowed = rates.false_match_rate <= false_match_rate
    last = allowed.sum(-1, keepdim=True).sub(1).clamp(min=0)
    rate = rates.false_non_match_rate.gather(-1, last).squeeze(-1)
    # Of replicates of a bootstrap, about half count fewer pairs than there are: only the number of all is asked.
    return rate if rates.num_pairs_of_two * false_match_rate > 1 - 1e-9 else torch.full_like(rate, torch.nan)


def verification_scores(rates: ErrorRates, threshold: Tensor) -> dict[str, Tensor]:
    """Return all scores (...) by name.

    ``auc`` and ``eer`` are of all thresholds. At the one given, which is to come from other pairs, are ``pair_accuracy``, the
    share of pairs told right, ``pair_f1`` of the pairs called the same, ``fmr`` and ``fnmr``; NaN where it is NaN.
    ``fnmr@fmr0.01`` and its like are the false non-match rate where the false match rate is that.
    """
    false_match, false_non_match = rates.at(threshold)
    num_same, num_different = rates.num_same.squeeze(-1), rates.num_different.squeeze(-1)
    missed, falsely_matched = false_non_match * num_same, false_match * num_different
    at_threshold = {
        "pair_accuracy": 1 - (missed + falsely_matched) / (num_same + num_different),
        "pair_f1": 2 * (num_same - missed) / (2 * num_same - missed + falsely_matched),
        "fmr": false_match,
        "fnmr": false_non_match,
    }
    return {
        "auc": area_under_roc(rates),
        "eer": equal_error_rate(rates),
        **{name: score.where(threshold.isfinite(), torch.nan) for name, score in at_threshold.items()},
        **{f"fnmr@fmr{rate:g}": non_match_rate_at(rates, rate) for rate in FALSE_MATCH_RATES},
    }
