from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from lab.losses.tuples import all_triplets, balanced_pairs, batch_hard_triplets, entries, rows, semi_hard_triplets

LABEL_SETS = {
    "two of each": [0, 0, 1, 1, 2, 2],
    "mixed, with an image alone": [3, 1, 3, 3, 0, 1, 1, 3],
    "any integers": [-7, 100, 100, -7, 5],
    "one class": [4, 4, 4, 4],
    "all distinct": [0, 1, 2, 3],
    "one image": [0],
    "no image": [],
}
WITH_BOTH_KINDS = ["two of each", "mixed, with an image alone", "any integers"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of draws from ten labels take seconds when threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _labels(name: str) -> Tensor:
    return torch.tensor(LABEL_SETS[name], dtype=torch.int64)


def _distances(size: int, seed: int) -> Tensor:
    points = torch.randn(size, 3, generator=_seeded(seed), dtype=torch.float64)
    return torch.cdist(points, points)


def _listed(triplets: tuple[Tensor, Tensor, Tensor]) -> list[tuple[int, int, int]]:
    assert all(part.dtype == torch.int64 for part in triplets)
    anchor, positive, negative = (part.tolist() for part in triplets)
    return sorted(zip(anchor, positive, negative, strict=True))


def _triplets_by_loop(labels: Tensor) -> list[tuple[int, int, int]]:
    return [
        (a, p, n)
        for a, p, n in product(range(len(labels)), repeat=3)
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


def _pairs_by_loop(labels: Tensor, same: bool) -> set[tuple[int, int]]:
    return {(i, j) for i, j in combinations(range(len(labels)), 2) if bool(labels[i] == labels[j]) is same}


def _drawn(labels: Tensor, num_pairs: int, generator: torch.Generator) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the same-class and the different-class pairs, the smaller position first."""
    first, second, same = balanced_pairs(labels, num_pairs, generator)
    assert first.dtype == second.dtype == torch.int64
    assert same.dtype == torch.bool
    pairs = [(min(i, j), max(i, j)) for i, j in zip(first.tolist(), second.tolist(), strict=True)]
    kinds = same.tolist()
    return [pair for pair, kind in zip(pairs, kinds, strict=True) if kind], [
        pair for pair, kind in zip(pairs, kinds, strict=True) if not kind
    ]


@pytest.mark.parametrize("name", list(LABEL_SETS))
def test_all_triplets_are_those_a_loop_over_all_positions_finds(name: str) -> None:
    assert _listed(all_triplets(_labels(name))) == _triplets_by_loop(_labels(name))


@pytest.mark.parametrize("margin", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("name", list(LABEL_SETS))
def test_semi_hard_triplets_are_those_a_loop_finds_inside_the_margin(name: str, margin: float) -> None:
    labels = _labels(name)
    distances = _distances(len(labels), seed=1)
    expected = [
        (a, p, n) for a, p, n in _triplets_by_loop(labels) if distances[a, p] < distances[a, n] < distances[a, p] + margin
    ]
    assert _listed(semi_hard_triplets(distances, labels, margin)) == expected


def test_a_negative_on_either_edge_of_the_margin_is_not_semi_hard() -> None:
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    distances = torch.zeros(6, 6)
    distances[0] = torch.tensor([0.0, 4.0, 4.0, 6.0, 5.0, 3.0])  # from the anchor; its positive is at 4
    triplets = [triplet for triplet in _listed(semi_hard_triplets(distances, labels, 2.0)) if triplet[0] == 0]
    assert triplets == [(0, 1, 4)]


@pytest.mark.parametrize("name", [name for name in LABEL_SETS if name != "no image"])
def test_batch_hard_triplets_are_those_a_loop_finds_for_each_anchor(name: str) -> None:
    labels = _labels(name)
    distances = _distances(len(labels), seed=2)
    expected = []
    for a in range(len(labels)):
        positives = [i for i in range(len(labels)) if i != a and labels[i] == labels[a]]
        negatives = [i for i in range(len(labels)) if labels[i] != labels[a]]
        if positives and negatives:
            positive = max(positives, key=lambda i: float(distances[a, i]))
            expected.append((a, positive, min(negatives, key=lambda i: float(distances[a, i]))))
    assert _listed(batch_hard_triplets(distances, labels)) == expected


def test_batch_hard_triplets_stay_valid_when_all_distances_are_equal() -> None:
    labels = _labels("mixed, with an image alone")
    triplets = _listed(batch_hard_triplets(torch.zeros(len(labels), len(labels)), labels))
    assert set(triplets) <= set(_triplets_by_loop(labels))
    assert [anchor for anchor, _, _ in triplets] == [a for a in range(len(labels)) if (labels == labels[a]).sum() > 1]


@pytest.mark.parametrize("num_pairs", [2, 6, 7, 1000])
@pytest.mark.parametrize("name", WITH_BOTH_KINDS)
def test_pairs_are_as_many_same_as_different_and_as_many_as_asked_for_or_possible(name: str, num_pairs: int) -> None:
    labels = _labels(name)
    same, different = _drawn(labels, num_pairs, _seeded(0))
    possible = min(len(_pairs_by_loop(labels, True)), len(_pairs_by_loop(labels, False)))
    assert len(same) == len(different) == min(num_pairs // 2, possible)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_pairs", [6, 30, 760, 1000, 10_000])
def test_pairs_have_the_relation_they_are_marked_with_and_none_is_drawn_twice_or_of_one_image(
    num_pairs: int, seed: int
) -> None:
    labels = torch.randint(0, 2, (80,), generator=_seeded(100 + seed))
    same, different = _drawn(labels, num_pairs, _seeded(seed))
    assert len(set(same)) == len(same) > 0
    assert len(set(different)) == len(different) > 0
    assert set(same) <= _pairs_by_loop(labels, True)  # which holds no (i, i)
    assert set(different) <= _pairs_by_loop(labels, False)


def test_same_class_pairs_come_first() -> None:
    _, _, same = balanced_pairs(_labels("two of each"), 6, _seeded(0))
    assert same.tolist() == [True] * 3 + [False] * 3


def test_asking_for_more_than_there_are_gives_every_pair_of_the_rarer_kind() -> None:
    labels = _labels("two of each")
    same, different = _drawn(labels, 1000, _seeded(0))
    assert set(same) == _pairs_by_loop(labels, True)
    assert set(different) < _pairs_by_loop(labels, False)


@pytest.mark.parametrize("name", ["one class", "all distinct", "one image", "no image"])
def test_labels_without_both_kinds_of_pairs_give_no_pairs(name: str) -> None:
    first, second, same = balanced_pairs(_labels(name), 10, _seeded(0))
    assert len(first) == len(second) == len(same) == 0
    assert first.dtype == second.dtype == torch.int64
    assert same.dtype == torch.bool


@pytest.mark.parametrize("num_pairs", [0, 1])
def test_asking_for_less_than_two_pairs_gives_none(num_pairs: int) -> None:
    assert _drawn(_labels("two of each"), num_pairs, _seeded(0)) == ([], [])


@pytest.mark.parametrize("num_pairs", [8, 500])
def test_the_generator_alone_decides_which_pairs_are_drawn(num_pairs: int) -> None:
    labels = torch.arange(60) % 4
    global_state = torch.get_rng_state()
    drawn = _drawn(labels, num_pairs, _seeded(5))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert _drawn(labels, num_pairs, _seeded(5)) == drawn
    assert _drawn(labels, num_pairs, _seeded(6)) != drawn
    generator = _seeded(5)
    assert _drawn(labels, num_pairs, generator) == drawn
    assert _drawn(labels, num_pairs, generator) != drawn


def test_drawing_leaves_the_labels_alone() -> None:
    labels = _labels("mixed, with an image alone")
    balanced_pairs(labels, 6, _seeded(0))
    assert torch.equal(labels, _labels("mixed, with an image alone"))


# Classes of very different sizes, in an order that is not sorted. The draws go through both ways of choosing: few of many
# pairs and a large share of them; and through cutting the kind of which there are more.
@pytest.mark.parametrize(
    ("labels", "num_pairs"),
    [([2, 0, 1, 0, 0, 2, 0, 1, 1, 0], 2), ([2, 0, 1, 0, 0, 2, 0, 1, 1, 0], 14), ([0, 1, 2, 3, 0, 4], 100)],
    ids=["few", "many", "cut to the rarer kind"],
)
def test_every_pair_of_a_kind_is_equally_likely(labels: list[int], num_pairs: int) -> None:
    generator = _seeded(7)
    counts: tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]] = (Counter(), Counter())
    for _ in range(400):
        for kind, pairs in enumerate(_drawn(torch.tensor(labels), num_pairs, generator)):
            counts[kind].update(pairs)
    for kind, same in enumerate([True, False]):
        possible = _pairs_by_loop(torch.tensor(labels), same)
        expected = counts[kind].total() / len(possible)
        chi_square = sum((counts[kind][pair] - expected) ** 2 / expected for pair in possible)
        freedom = len(possible) - 1  # the statistic's mean; its variance is twice that, or less without repetition
        assert chi_square <= freedom + 5 * (2 * freedom) ** 0.5


def test_the_first_pair_of_the_list_is_as_random_as_the_whole() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    generator = _seeded(8)
    first_drawn = Counter(_drawn(labels, 6, generator)[0][0] for _ in range(300))
    expected = 300 / 6
    chi_square = sum((first_drawn[pair] - expected) ** 2 / expected for pair in _pairs_by_loop(labels, True))
    assert chi_square <= 5 + 5 * 10**0.5


def test_rows_and_entries_are_those_of_indexing_with_its_gradient() -> None:
    values = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    row, column = torch.tensor([0, 5, 0, 0, 3]), torch.tensor([1, 2, 1, 3, 0])
    weights = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for taken, expected in ((rows, lambda v: v[row]), (lambda v, _: entries(v, row, column), lambda v: v[row, column])):
        given, indexed = (values.clone().requires_grad_() for _ in range(2))
        ours, theirs = taken(given, row), expected(indexed)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        scale = weights if ours.ndim == 2 else weights[:, 0]
        (ours * scale).sum().backward()
        (theirs * scale).sum().backward()
        torch.testing.assert_close(given.grad, indexed.grad)


def test_the_gradient_of_rows_taken_many_times_is_the_same_every_time() -> None:
    generator = torch.Generator().manual_seed(0)
    values, positions = torch.randn(80, 64, generator=generator), torch.randint(80, (20_000,), generator=generator)
    weights = torch.randn(20_000, 64, generator=generator)

    def gradient() -> Tensor:
        leaf = values.clone().requires_grad_()
        (rows(leaf, positions) * weights).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(10))
