import itertools

import pytest
import torch
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

from lab.data.batches import Batches, ClassBatches, EvaluationBatches, RandomBatches, generator_for


def _labels(counts: list[int]) -> Tensor:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def _names(counts: list[int]) -> list[str]:
    return [f"class {i}" for i in range(len(counts))]


def _lists(batches: Batches, epoch: int = 0) -> list[list[int]]:
    batches.set_epoch(epoch)
    return [batch.tolist() for batch in batches]


def _flat(batches: Batches, epoch: int = 0) -> list[int]:
    return [index for batch in _lists(batches, epoch) for index in batch]


def _class_batches(counts: list[int], batch_size: int, samples: int, seed: int = 0, rank: int = 0, of: int = 1) -> ClassBatches:
    return ClassBatches(_labels(counts), batch_size, samples, _names(counts), seed, rank, of)


def _first_draws(*numbers: int) -> list[float]:
    return torch.rand(4, generator=generator_for("test", *numbers)).tolist()


def test_a_generator_is_the_same_for_the_same_numbers() -> None:
    assert _first_draws(3, 1, 4) == _first_draws(3, 1, 4)


def test_a_generator_differs_for_different_numbers_and_for_another_order() -> None:
    tuples = [*itertools.product(range(5), repeat=3), (2**32 - 1, 1, 0), (1, 2**32 - 1, 0)]
    assert len({tuple(_first_draws(*numbers)) for numbers in tuples}) == len(tuples)


def test_a_generator_differs_for_another_number_of_numbers() -> None:
    assert len({tuple(_first_draws(*numbers)) for numbers in [(5,), (5, 0), (5, 0, 0)]}) == 3


def test_a_generator_neither_reads_nor_moves_the_global_one() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = _first_draws(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert _first_draws(7) == one


@pytest.mark.parametrize("kind", [RandomBatches, EvaluationBatches])
def test_lightning_takes_every_sampler_for_one_it_need_not_replace(kind: type[Batches]) -> None:
    assert isinstance(kind(_labels([5, 5]), 2), DistributedSampler)
    assert isinstance(_class_batches([5, 5], 4, 2), DistributedSampler)


@pytest.mark.parametrize(("num", "batch_size"), [(12, 4), (13, 4), (15, 4), (100, 7), (5, 5)])
def test_a_random_epoch_is_full_batches_without_an_image_twice(num: int, batch_size: int) -> None:
    batches = RandomBatches(_labels([num]), batch_size)
    seen = _lists(batches)
    assert len(seen) == len(batches) == num // batch_size
    assert all(len(batch) == batch_size for batch in seen)
    flat = [index for batch in seen for index in batch]
    assert len(set(flat)) == len(flat)
    assert set(flat) <= set(range(num))


def test_a_random_epoch_that_divides_evenly_is_a_permutation_in_another_order_than_the_data() -> None:
    flat = _flat(RandomBatches(_labels([60]), 6))
    assert sorted(flat) == list(range(60))
    assert flat != list(range(60))


def test_images_left_out_of_one_random_epoch_come_in_another() -> None:
    batches = RandomBatches(_labels([11]), 4)
    assert {index for epoch in range(20) for index in _flat(batches, epoch)} == set(range(11))


def test_random_epochs_differ_by_epoch_and_seed_and_are_the_same_for_the_same() -> None:
    orders = {(seed, epoch): _flat(RandomBatches(_labels([50]), 5, seed), epoch) for seed in range(3) for epoch in range(3)}
    assert len({tuple(order) for order in orders.values()}) == 9
    assert orders[2, 1] == _flat(RandomBatches(_labels([50]), 5, seed=2), epoch=1)


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("num", [48, 53])
def test_random_batches_of_all_ranks_together_are_the_global_batches_of_one_process(world_size: int, num: int) -> None:
    ranks = [_lists(RandomBatches(_labels([num]), 4, 1, rank, world_size), epoch=2) for rank in range(world_size)]
    alone = _lists(RandomBatches(_labels([num]), 4 * world_size, 1), epoch=2)
    for parts, whole in zip(zip(*ranks, strict=True), alone, strict=True):
        assert [len(part) for part in parts] == [4] * world_size
        together = [index for part in parts for index in part]
        assert len(set(together)) == len(together)
        assert sorted(together) == sorted(whole)


def test_fewer_images_than_a_batch_make_one_batch_of_them_all() -> None:
    batches = RandomBatches(_labels([3]), 8)
    assert len(batches) == 1
    assert [sorted(batch) for batch in _lists(batches)] == [[0, 1, 2]]


def test_fewer_images_than_a_global_batch_are_shared_out_among_the_ranks() -> None:
    ranks = [_lists(RandomBatches(_labels([7]), 4, rank=rank, world_size=3)) for rank in range(3)]
    assert [len(rank) for rank in ranks] == [1, 1, 1]
    together = [index for rank in ranks for index in rank[0]]
    assert len(together) == len(set(together)) == 6  # as many on each; one waits for another epoch


@pytest.mark.parametrize(
    ("counts", "batch_size", "samples"),
    [
        ([20, 20, 20, 20], 8, 2),
        ([20, 20, 20, 20], 20, 5),
        ([4, 9, 31, 17, 50], 12, 4),
        ([2, 3, 100], 4, 2),
        ([6] * 30, 6, 3),
        ([5, 5], 2, 1),
        ([3, 3, 4], 9, 3),
    ],
)
def test_a_class_batch_is_p_classes_of_k_distinct_images_each(counts: list[int], batch_size: int, samples: int) -> None:
    labels = _labels(counts)
    batches = _class_batches(counts, batch_size, samples)
    for epoch in range(5):
        seen = _lists(batches, epoch)
        assert len(seen) == len(batches) == max(1, len(labels) // batch_size)
        for batch in seen:
            assert len(set(batch)) == len(batch) == batch_size
            counted = torch.bincount(labels[batch])
            assert counted[counted > 0].tolist() == [samples] * (batch_size // samples)


@pytest.mark.parametrize(("counts", "samples"), [([12, 12, 12], 4), ([10, 13, 25, 7], 3), ([2, 9, 40], 2)])
def test_a_class_gives_all_its_images_before_any_again_but_for_a_remainder(counts: list[int], samples: int) -> None:
    labels = _labels(counts)
    batches = _class_batches(counts, 2 * samples, samples)
    repeated = False
    for epoch in range(10):
        flat = torch.tensor(_flat(batches, epoch))
        for label, count in enumerate(counts):
            given = flat[labels[flat] == label].tolist()
            whole_round = count // samples * samples
            for start in range(0, len(given), whole_round):
                part = given[start : start + whole_round]
                assert len(set(part)) == len(part)
            repeated |= len(given) > whole_round
    assert repeated, "no class came round again, so nothing was tested"


def test_every_image_of_a_class_comes_sooner_or_later() -> None:
    batches = _class_batches([7, 7, 8], 6, 3)
    assert {index for epoch in range(40) for index in _flat(batches, epoch)} == set(range(22))


def test_class_batches_visit_all_classes_about_equally_however_many_images_they_have() -> None:
    counts = [10, 10, 200, 40, 20, 80]
    labels = _labels(counts)
    batches = _class_batches(counts, 4, 2)
    visits = torch.zeros(len(counts))
    num_batches = 0
    for epoch in range(10):
        for batch in _lists(batches, epoch):
            visits[labels[batch].unique()] += 1
            num_batches += 1
    share = 2 / len(counts)
    deviation = (num_batches * share * (1 - share)) ** 0.5
    assert (visits - num_batches * share).abs().max() < 4 * deviation


def test_class_batches_differ_by_epoch_and_seed_and_are_the_same_for_the_same() -> None:
    orders = {(seed, epoch): _flat(_class_batches([9, 9, 9], 6, 3, seed), epoch) for seed in range(3) for epoch in range(3)}
    assert len({tuple(order) for order in orders.values()}) == 9
    assert orders[1, 2] == _flat(_class_batches([9, 9, 9], 6, 3, seed=1), epoch=2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_class_batches_of_all_ranks_share_no_image_while_the_classes_last(world_size: int) -> None:
    counts = [24] * 4
    ranks = [_lists(_class_batches(counts, 8, 2, rank=rank, of=world_size)) for rank in range(world_size)]
    assert len({len(rank) for rank in ranks}) == 1
    together = [index for rank in ranks for batch in rank for index in batch]
    assert len(together) == sum(counts)
    assert len(set(together)) == len(together)


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("counts", [[20, 23, 41], [4, 4, 4]])
def test_every_rank_has_as_many_class_batches_as_the_others_and_each_is_p_times_k(counts: list[int], world_size: int) -> None:
    labels = _labels(counts)
    ranks = [_lists(_class_batches(counts, 8, 4, rank=rank, of=world_size)) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {max(1, len(labels) // (8 * world_size))}
    for batch in (batch for rank in ranks for batch in rank):
        counted = torch.bincount(labels[batch])
        assert counted[counted > 0].tolist() == [4, 4]


def test_class_batches_of_all_ranks_share_no_image_within_a_step_of_large_classes() -> None:
    counts = [40] * 10
    for epoch in range(20):
        ranks = [_lists(_class_batches(counts, 20, 4, rank=rank, of=2), epoch) for rank in range(2)]
        for one, other in zip(*ranks, strict=True):
            assert not set(one) & set(other)


@pytest.mark.parametrize(("batch_size", "samples"), [(10, 4), (4, 4), (2, 4)], ids=["not divisible", "one class", "no class"])
def test_a_batch_that_is_not_k_images_of_two_or_more_classes_is_refused(batch_size: int, samples: int) -> None:
    with pytest.raises(ValueError, match=rf"data\.batch_size {batch_size} must be data\.samples_per_class {samples} times"):
        _class_batches([20, 20, 20], batch_size, samples)


def test_a_batch_of_more_classes_than_there_are_is_refused_with_the_size_that_fits() -> None:
    with pytest.raises(ValueError, match=r"needs 4 classes a batch, but there are 3; a batch_size of at most 15"):
        _class_batches([20, 20, 20], 20, 5)


@pytest.mark.parametrize("counts", [[9, 3, 9], [9, 9, 0], [9, 3]])
def test_a_class_with_fewer_than_k_images_is_refused_by_name(counts: list[int]) -> None:
    smallest = counts.index(min(counts))
    with pytest.raises(ValueError, match=rf"'class {smallest}' has {min(counts)} training images.* data\.samples_per_class 4"):
        _class_batches(counts, 8, 4)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("num", [7, 8, 20, 101])
def test_evaluation_over_all_ranks_sees_each_image_once_in_the_order_of_one_process(num: int, world_size: int) -> None:
    alone = _flat(EvaluationBatches(_labels([num]), 4))
    ranks = [EvaluationBatches(_labels([num]), 4, rank=rank, world_size=world_size) for rank in range(world_size)]
    for rank in ranks:
        seen = _lists(rank)
        assert len(seen) == len(rank)
        assert all(0 < len(batch) <= 4 for batch in seen)
    assert [index for rank in ranks for index in _flat(rank)] == alone
    assert sorted(alone) == list(range(num))


def test_evaluation_batches_of_several_ranks_are_those_of_one_process() -> None:
    ranks = [_lists(EvaluationBatches(_labels([101]), 7, rank=rank, world_size=4)) for rank in range(4)]
    assert [batch for rank in ranks for batch in rank] == _lists(EvaluationBatches(_labels([101]), 7))


def test_where_there_are_more_ranks_than_batches_each_has_a_smaller_one() -> None:
    ranks = [_lists(EvaluationBatches(_labels([9]), 8, rank=rank, world_size=4)) for rank in range(4)]
    assert all(ranks)
    assert sorted(index for rank in ranks for batch in rank for index in batch) == list(range(9))
    with pytest.raises(ValueError, match="2 images cannot be evaluated on 3 devices"):
        EvaluationBatches(_labels([2]), 4, rank=0, world_size=3)
    assert _lists(EvaluationBatches(torch.arange(0), 4)) == []


def test_evaluation_is_in_the_same_order_whatever_the_seed_and_the_epoch() -> None:
    orders = {tuple(_flat(EvaluationBatches(_labels([30]), 7, seed), epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 1
    assert orders.pop() != tuple(range(30))


def test_evaluation_batches_mix_the_classes_of_data_that_is_sorted_by_class() -> None:
    labels = torch.arange(2).repeat_interleave(100)
    assert all(len(labels[batch].unique()) == 2 for batch in EvaluationBatches(labels, 20))
