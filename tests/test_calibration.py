import itertools
import math

import pytest
import torch
from torch import Tensor

from lab.metrics import Evaluation
from lab.metrics.calibration import OperatingPoint, fit_probability, threshold_for

SEEDS = range(4)
POINTS: list[OperatingPoint] = ["best_accuracy", "equal_error", 0.05, 0.3]


def _pairs(seed: int, num_same: int = 60, num_different: int = 60, coarse: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    same = torch.arange(num_same + num_different) < num_same
    distances = torch.rand(len(same), generator=generator) + 0.5 * ~same
    return ((distances * 8).round() if coarse else distances), same


def _rates(distances: Tensor, same: Tensor, threshold: float) -> tuple[float, float]:
    called = distances <= threshold
    return called[~same].double().mean().item(), (~called)[same].double().mean().item()


def _candidates(distances: Tensor) -> list[float]:
    values = sorted(set(distances.tolist()))
    return [values[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(values)), values[-1] + 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coarse", [False, True])
def test_the_most_accurate_threshold_makes_as_few_errors_as_any(seed: int, coarse: bool) -> None:
    distances, same = _pairs(seed, 50, 80, coarse)
    errors = {t: int(((distances <= t) != same).sum()) for t in _candidates(distances)}
    chosen = threshold_for("best_accuracy", distances, same).item()
    assert int(((distances <= chosen) != same).sum()) == min(errors.values())
    assert chosen == pytest.approx(min(t for t, number in errors.items() if number == min(errors.values())))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coarse", [False, True])
def test_at_equal_error_both_rates_are_as_near_as_at_any_threshold(seed: int, coarse: bool) -> None:
    distances, same = _pairs(seed, coarse=coarse)
    gaps = [abs(a - b) for a, b in (_rates(distances, same, t) for t in _candidates(distances))]
    matched, missed = _rates(distances, same, threshold_for("equal_error", distances, same).item())
    assert abs(matched - missed) == pytest.approx(min(gaps))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("target", [0.02, 0.1, 0.5])
def test_a_false_match_rate_is_kept_to_and_no_more_is_missed_than_it_costs(seed: int, coarse: bool, target: float) -> None:
    distances, same = _pairs(seed, coarse=coarse)
    matched, missed = _rates(distances, same, threshold_for(target, distances, same).item())
    assert matched <= target
    allowed = [m for f, m in (_rates(distances, same, t) for t in _candidates(distances)) if f <= target]
    assert missed == pytest.approx(min(allowed))


def test_a_false_match_rate_that_is_allowed_is_not_used_up_for_nothing() -> None:
    distances, same = torch.tensor([0.1, 0.2, *range(1, 21)]), torch.arange(22) < 2
    assert threshold_for(0.1, distances, same).item() == pytest.approx(0.6)  # a larger one would match pairs of two classes


@pytest.mark.parametrize("point", POINTS)
def test_scaling_the_distances_scales_the_threshold_but_at_the_ends(point: OperatingPoint) -> None:
    distances, same = _pairs(7)
    scaled = threshold_for(point, 1000 * distances, same)
    torch.testing.assert_close(scaled, 1000 * threshold_for(point, distances, same))


@pytest.mark.parametrize("point", POINTS)
def test_equal_distances_are_all_on_one_side(point: OperatingPoint) -> None:
    distances, same = torch.full((10,), 2.0), torch.arange(10) < 5
    called = distances <= threshold_for(point, distances, same)
    assert called.all() or not called.any()


@pytest.mark.parametrize("point", ["accuracy", 0.0, 1.0, -0.1, 2, math.nan])
def test_what_is_no_operating_point_is_refused(point: OperatingPoint) -> None:
    with pytest.raises(ValueError, match=r"model\.evaluation\.operating_point must be best_accuracy, equal_error or"):
        Evaluation(operating_point=point)


@pytest.mark.parametrize(("name", "value"), [("num_pairs", 1), ("num_ways", 1), ("num_shots", 0), ("num_tasks", 0)])
def test_an_evaluation_of_nothing_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"model\.evaluation\.{name} must be"):
        Evaluation(**{name: value})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_same", [60, 20])
def test_the_probability_is_the_logistic_regression_of_scikit_learn_on_platts_targets(seed: int, num_same: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    distances, same = _pairs(seed, num_same, 70)
    slope, offset = fit_probability(distances, same)
    # Each pair twice, as same and as different, weighted by Platt's target, and each kind of pair as half of all.
    target = torch.where(same, (num_same + 1) / (num_same + 2), 1 / 72).double()
    weight = torch.where(same, 0.5 / num_same, 0.5 / 70).double()
    inputs = torch.cat([distances, distances]).double().unsqueeze(1).numpy()
    classes = [1] * len(same) + [0] * len(same)
    weights = torch.cat([weight * target, weight * (1 - target)]).numpy() * 1e4
    theirs = linear_model.LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(inputs, classes, sample_weight=weights)
    assert slope.item() == pytest.approx(-theirs.coef_[0, 0], rel=1e-3)
    assert offset.item() == pytest.approx(theirs.intercept_[0], rel=1e-3)


def test_the_fit_is_a_minimum_of_the_cross_entropy() -> None:
    distances, same = _pairs(3)
    slope, offset = fit_probability(distances, same)

    def cross_entropy(a: float, b: float) -> float:
        target = torch.where(same, 61 / 62, 1 / 62).double()
        logits = b - a * distances.double()
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target).item()

    least = cross_entropy(slope.item(), offset.item())
    for a, b in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        assert cross_entropy(slope.item() + a, offset.item() + b) > least


def test_distances_that_separate_the_pairs_give_no_certainty_and_equal_ones_an_even_chance() -> None:
    same = torch.arange(40) < 20
    slope, offset = fit_probability(torch.where(same, 0.1, 5.0), same)
    probabilities = torch.sigmoid(offset - slope * torch.tensor([0.1, 5.0]))
    assert probabilities[0].item() == pytest.approx(21 / 22, rel=1e-4)
    assert probabilities[1].item() == pytest.approx(1 / 22, rel=1e-4)
    slope, offset = fit_probability(torch.full((40,), 3.0), same)
    assert torch.sigmoid(offset - slope * 3.0).item() == pytest.approx(0.5, abs=1e-6)


def test_the_unit_of_distance_does_not_change_the_probability() -> None:
    distances, same = _pairs(5)
    one, other = (fit_probability(unit * distances, same) for unit in (1.0, 1e4))
    torch.testing.assert_close(one[1] - one[0] * distances, other[1] - other[0] * 1e4 * distances, rtol=1e-4, atol=1e-4)


def test_a_false_match_rate_that_the_pairs_cannot_tell_is_refused() -> None:
    Evaluation(operating_point=0.001, num_pairs=2000)
    with pytest.raises(ValueError, match=r"operating_point 0\.0001 is less than one of the 1000 pairs of two classes"):
        Evaluation(operating_point=0.0001, num_pairs=2000)
