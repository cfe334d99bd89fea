import pytest
import torch
from torch import Tensor

from lab.data import Synthetic
from lab.data.pair_batches import PairBatches


def _labels(counts: list[int]) -> Tensor:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


@pytest.mark.parametrize("counts", [[40] * 5, [7, 13, 40, 22], [2] * 60, [5] * 33, [100, 30, 30, 20, 10]])
def test_half_of_the_pairs_of_a_batch_are_of_one_class(counts: list[int]) -> None:
    labels = _labels(counts)
    batches = list(PairBatches(labels, 16))
    assert len(batches) == len(PairBatches(labels, 16)) > 0
    for batch in batches:
        assert len(batch) == 16
        first, second = labels[batch].view(-1, 2).T
        assert (first == second).tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("world_size", [1, 2])
def test_batches_are_whole_whatever_the_counts_of_the_classes(world_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        counts = torch.randint(1, 60, (int(torch.randint(2, 6, (1,), generator=generator)),), generator=generator).tolist()
        for rank in range(world_size):
            try:
                batches = PairBatches(_labels(counts), 4, rank=rank, world_size=world_size)
            except ValueError:
                continue
            assert [len(batch) for batch in batches] == [4] * len(batches)


def test_no_image_is_in_two_pairs_of_an_epoch() -> None:
    images = torch.cat(list(PairBatches(_labels([40] * 5), 16)))
    assert len(images.unique()) == len(images) > 150


def test_epochs_and_seeds_differ_and_the_same_ones_are_the_same() -> None:
    def epoch(seed: int, number: int) -> Tensor:
        batches = PairBatches(_labels([40] * 5), 16, seed)
        batches.set_epoch(number)
        return torch.cat(list(batches))

    assert torch.equal(epoch(1, 2), epoch(1, 2))
    assert not torch.equal(epoch(1, 2), epoch(1, 3))
    assert not torch.equal(epoch(1, 2), epoch(2, 2))


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_share_the_pairs_of_the_batch_that_one_process_would_see(world_size: int) -> None:
    labels = _labels([40] * 6)
    whole = list(PairBatches(labels, 8 * world_size))
    ranks = [list(PairBatches(labels, 8, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert all(len(batches) == len(whole) for batches in ranks)
    for step, expected in enumerate(whole):
        seen = torch.cat([batches[step] for batches in ranks])
        assert sorted(map(tuple, seen.view(-1, 2).tolist())) == sorted(map(tuple, expected.view(-1, 2).tolist()))


def test_over_the_epochs_every_image_is_paired() -> None:
    batches = PairBatches(_labels([11] * 6), 8)
    seen = []
    for epoch in range(20):
        batches.set_epoch(epoch)
        seen += list(batches)
    assert len(torch.cat(seen).unique()) == 66


def test_different_classes_meet_in_either_order() -> None:
    labels, orders = _labels([40] * 4), []
    batches = PairBatches(labels, 16)
    for epoch in range(5):
        batches.set_epoch(epoch)
        pairs = labels[torch.cat(list(batches))].view(-1, 2)
        orders.append((pairs[:, 0] < pairs[:, 1])[pairs[:, 0] != pairs[:, 1]])
    assert 0.35 < torch.cat(orders).float().mean() < 0.65


@pytest.mark.parametrize(
    ("labels", "batch_size", "says"),
    [
        ([40] * 5, 18, "data.batch_size 18 must be divisible by 4"),
        ([40], 16, "needs 4 pairs of one class and 4 of two; the training images form 10 and 0"),
        ([1] * 30, 16, "needs 4 pairs of one class and 4 of two; the training images form 0 and 15"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(labels: list[int], batch_size: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PairBatches(_labels(labels), batch_size)


def test_too_few_pairs_for_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.batch_size 16 needs 4 pairs of one class and 4 of two"):
        PairBatches(_labels([4, 4]), 16)


def test_a_data_set_gives_pairs_where_it_is_asked_to() -> None:
    data = Synthetic(num_train_images=400, batch_size=16, pairs=True)
    data.setup()
    for _, labels in data.train_dataloader():
        first, second = labels.view(-1, 2).T
        assert (first == second).sum() == 4
