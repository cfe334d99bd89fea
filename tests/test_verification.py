import pytest
import torch
from torch import Tensor

from lab.metrics import verification
from lab.metrics.verification import error_rates, non_match_rate_at, verification_scores

SEEDS = range(4)


def area_under_roc(distances: Tensor, same: Tensor) -> Tensor:
    return verification.area_under_roc(error_rates(distances, same))


def equal_error_rate(distances: Tensor, same: Tensor) -> Tensor:
    return verification.equal_error_rate(error_rates(distances, same))


def _pairs(seed: int, num_same: int = 80, num_different: int = 80) -> tuple[Tensor, Tensor]:
    """Return distances, smaller of same-class pairs on average, and which pairs those are, mixed."""
    generator = torch.Generator().manual_seed(seed)
    same = torch.arange(num_same + num_different) < num_same
    distances = torch.rand(len(same), generator=generator) + 0.4 * ~same
    order = torch.randperm(len(same), generator=generator)
    return distances[order], same[order]


def _coarse(seed: int) -> tuple[Tensor, Tensor]:
    """Return distances of which many are equal."""
    distances, same = _pairs(seed)
    return (distances * 6).round(), same


def _auc_and_eer(distances: Tensor, same: Tensor) -> tuple[float, float]:
    return area_under_roc(distances, same).item(), equal_error_rate(distances, same).item()


def _auc_by_count(distances: Tensor, same: Tensor) -> float:
    wins = [
        1.0 if near < far else 0.5 if near == far else 0.0
        for near in distances[same].tolist()
        for far in distances[~same].tolist()
    ]
    return sum(wins) / len(wins)


def _eer_by_count(distances: Tensor, same: Tensor) -> float:
    """Accept all pairs up to each distance in turn, and none; take the threshold where the two error rates are nearest."""
    near, far = distances[same].tolist(), distances[~same].tolist()
    rates: list[tuple[float, float]] = []
    for threshold in [-1.0, *sorted(set(near + far))]:
        false_match = sum(d <= threshold for d in far) / len(far)
        false_non_match = sum(d > threshold for d in near) / len(near)
        rates.append((abs(false_match - false_non_match), (false_match + false_non_match) / 2))
    return min(rates)[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_auc_is_the_share_of_pairs_of_pairs_in_the_right_order_with_ties_counting_half(seed: int) -> None:
    for distances, same in (_pairs(seed), _pairs(seed, 20, 90), _coarse(seed)):
        assert area_under_roc(distances, same).item() == pytest.approx(_auc_by_count(distances, same), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_auc_is_that_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for distances, same in (_pairs(seed), _pairs(seed, 20, 90), _coarse(seed)):
        expected = metrics.roc_auc_score(same.numpy(), -distances.numpy())
        assert area_under_roc(distances, same).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_error_rate_is_where_counted_false_matches_are_as_frequent_as_false_non_matches(seed: int) -> None:
    distances, same = _pairs(seed)
    rate = equal_error_rate(distances, same).item()
    assert rate == pytest.approx(_eer_by_count(distances, same), abs=1e-6)
    # As many pairs of either kind and no two distances equal: there is a threshold with exactly as many errors of both.
    threshold = distances.sort().values[int(same.sum()) - 1]
    assert (distances[same] > threshold).sum() == (distances[~same] <= threshold).sum()
    assert rate == pytest.approx((distances[same] > threshold).float().mean().item(), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_error_rate_is_that_on_the_curve_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for distances, same in (_pairs(seed), _pairs(seed, 23, 90)):
        false_match, match, _ = metrics.roc_curve(same.numpy(), -distances.numpy(), drop_intermediate=False)
        nearest = abs(false_match - (1 - match)).argmin()
        expected = (false_match[nearest] + 1 - match[nearest]) / 2
        assert equal_error_rate(distances, same).item() == pytest.approx(expected, abs=1e-6)


def test_distances_that_separate_the_kinds_score_perfectly_and_reversed_ones_not_at_all() -> None:
    distances, same = torch.tensor([0.1, 0.2, 0.3, 5.0, 6.0, 7.0]), torch.tensor([True, True, True, False, False, False])
    assert _auc_and_eer(distances, same) == (1, 0)
    assert _auc_and_eer(distances, ~same) == (0, 1)


@pytest.mark.parametrize("distance", [0.0, 1.0, 1e6])
def test_equal_distances_are_no_better_than_a_coin(distance: float) -> None:
    distances, same = torch.full((10,), distance), torch.arange(10) < 5
    assert _auc_and_eer(distances, same) == (0.5, 0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_pairs_and_the_unit_of_distance_do_not_matter(seed: int) -> None:
    distances, same = _pairs(seed)
    order = torch.randperm(len(same), generator=torch.Generator().manual_seed(seed))
    for score in (area_under_roc, equal_error_rate):
        expected = score(distances, same)
        torch.testing.assert_close(score(distances[order], same[order]), expected)
        for unit in (1e-2, 10.0, 1e4):
            torch.testing.assert_close(score(unit * distances, same), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_exchanging_the_kinds_takes_the_auc_from_one(seed: int) -> None:
    distances, same = _pairs(seed)
    assert area_under_roc(distances, ~same).item() == pytest.approx(1 - area_under_roc(distances, same).item(), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_error_rates_are_those_counted_at_each_distance(seed: int) -> None:
    for distances, same in (_pairs(seed, 20, 35), _coarse(seed)):
        rates = error_rates(distances, same)
        assert rates.thresholds[0] == -torch.inf
        assert rates.thresholds[1:].tolist() == sorted(set(distances.double().tolist()))
        for threshold, false_match, false_non_match in zip(
            rates.thresholds, rates.false_match_rate, rates.false_non_match_rate, strict=True
        ):
            assert false_match.item() == pytest.approx((distances[~same] <= threshold).double().mean().item())
            assert false_non_match.item() == pytest.approx((distances[same] > threshold).double().mean().item())


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_count_a_pair_as_often_as_repeating_it(seed: int) -> None:
    distances, same = _coarse(seed)
    times = torch.randint(0, 4, (3, len(same)), generator=torch.Generator().manual_seed(seed))
    weighted = verification_scores(error_rates(distances, same, times), torch.tensor(3.0))
    for row, counts in enumerate(times):
        repeated = error_rates(distances.repeat_interleave(counts), same.repeat_interleave(counts))
        for name, score in verification_scores(repeated, torch.tensor(3.0)).items():
            if not name.startswith("fnmr@") or weighted[name][row].isfinite():  # so few pairs cannot tell
                torch.testing.assert_close(weighted[name][row], score, equal_nan=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.4, 0.71, 3.0])
def test_at_a_threshold_accuracy_f1_and_both_error_rates_are_those_of_the_counts(seed: int, threshold: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    distances, same = _pairs(seed, 30, 70)
    called = distances <= threshold
    scores = verification_scores(error_rates(distances, same), torch.tensor(threshold))
    assert scores["pair_accuracy"].item() == pytest.approx((called == same).double().mean().item())
    assert scores["pair_f1"].item() == pytest.approx(metrics.f1_score(same, called, zero_division=0.0))
    assert scores["fmr"].item() == pytest.approx(called[~same].double().mean().item())
    assert scores["fnmr"].item() == pytest.approx((~called)[same].double().mean().item())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_non_match_rate_at_a_false_match_rate_is_the_lowest_that_a_loop_over_thresholds_finds(seed: int) -> None:
    for distances, same in (_pairs(seed, 40, 60), _coarse(seed)):
        for allowed in (0.5, 0.1, 0.05, 0.02):
            rates = [
                ((distances[same] > t).double().mean().item(), (distances[~same] <= t).double().mean().item())
                for t in [-1.0, *distances.tolist()]
            ]
            expected = min(missed for missed, matched in rates if matched <= allowed)
            assert non_match_rate_at(error_rates(distances, same), allowed).item() == pytest.approx(expected)


def test_a_false_match_rate_that_so_few_pairs_cannot_tell_is_not_a_number() -> None:
    distances, same = _pairs(0, 80, 80)
    scores = verification_scores(error_rates(distances, same), torch.tensor(0.5))
    assert scores["fnmr@fmr0.1"].isfinite()
    assert scores["fnmr@fmr0.01"].isnan()
    assert scores["fnmr@fmr0.0001"].isnan()


def test_without_a_threshold_there_is_nothing_to_score_by_it() -> None:
    scores = verification_scores(error_rates(*_pairs(0)), torch.tensor(torch.nan))
    assert all(scores[name].isnan() for name in ("pair_accuracy", "pair_f1", "fmr", "fnmr"))
    assert scores["auc"].isfinite()


def test_without_pairs_of_either_kind_every_score_is_not_a_number() -> None:
    for num in (0, 5):
        distances, same = torch.rand(num), torch.ones(num, dtype=torch.bool)
        scores = verification_scores(error_rates(distances, same), torch.tensor(0.5))
        assert scores["auc"].isnan()
        assert scores["fmr"].isnan()
