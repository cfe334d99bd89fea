import pytest
import torch
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.splits import choose_classes, few_a_class, keep_classes, stratified_split

ANIMALS = ["ant", "bee", "cat", "dog", "eel"]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _labels(counts: list[int], seed: int = 0) -> Tensor:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=_generator(seed))]


@pytest.mark.parametrize("num_held_out", [1, 7, 10, 33, 59, 99])
@pytest.mark.parametrize("counts", [[20, 20, 20, 20, 20], [1, 2, 50, 47], [97, 1, 1, 1], [100]])
def test_a_stratified_split_holds_out_each_class_in_proportion_to_within_one(counts: list[int], num_held_out: int) -> None:
    labels = _labels(counts)
    kept, held_out = stratified_split(labels, num_held_out, _generator())
    assert len(held_out) == num_held_out
    assert len(kept) == len(labels) - num_held_out
    for label, count in enumerate(counts):
        assert abs(int((labels[held_out] == label).sum()) - count * num_held_out / len(labels)) < 1


def test_a_split_that_divides_evenly_holds_out_exactly_as_many_of_each_class() -> None:
    labels = _labels([30, 60, 90])
    _, held_out = stratified_split(labels, 60, _generator())
    assert torch.bincount(labels[held_out]).tolist() == [10, 20, 30]


@pytest.mark.parametrize("num_held_out", [0, 1, 13, 30, 36, 37])
def test_kept_and_held_out_are_sorted_disjoint_and_together_everything(num_held_out: int) -> None:
    labels = _labels([5, 11, 21])
    kept, held_out = stratified_split(labels, num_held_out, _generator())
    for positions in (kept, held_out):
        assert torch.equal(positions, positions.sort().values)
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(labels)))


def test_a_split_depends_on_its_generator_alone() -> None:
    labels = _labels([40, 40])
    first, again, other = (stratified_split(labels, 20, _generator(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_image_of_a_class_can_be_held_out() -> None:
    labels = _labels([10, 10])
    seen: set[int] = set()
    for seed in range(50):
        seen |= set(stratified_split(labels, 4, _generator(seed))[1].tolist())
    assert seen == set(range(20))


def test_few_a_class_draws_that_many_of_each_class_and_all_of_a_smaller_one() -> None:
    labels = _labels([10, 3, 25])
    positions = few_a_class(labels, 5, _generator())
    assert torch.bincount(labels[positions]).tolist() == [5, 3, 5]
    assert positions.tolist() == sorted(set(positions.tolist()))


def test_few_a_class_can_draw_every_image_and_depends_on_its_generator_alone() -> None:
    labels = _labels([12, 12])
    draws = [few_a_class(labels, 2, _generator(seed)) for seed in range(60)]
    assert set(torch.cat(draws).tolist()) == set(range(24))
    assert torch.equal(draws[7], few_a_class(labels, 2, _generator(7)))
    assert len({tuple(draw.tolist()) for draw in draws}) > 1


def test_few_a_class_passes_over_a_class_without_images() -> None:
    labels = torch.tensor([0, 0, 0, 3, 3, 3])
    assert torch.bincount(labels[few_a_class(labels, 1, _generator())]).tolist() == [1, 0, 0, 1]


def test_all_classes_the_first_so_many_or_those_listed_can_be_chosen() -> None:
    assert choose_classes(None, ANIMALS, "Animals") == ANIMALS
    assert choose_classes(2, ANIMALS, "Animals") == ["ant", "bee"]
    assert choose_classes(5, ANIMALS, "Animals") == ANIMALS
    assert choose_classes(["eel", "bee"], ANIMALS, "Animals") == ["eel", "bee"]
    assert choose_classes([8, "3"], [str(digit) for digit in range(10)], "Digits") == ["8", "3"]


def test_too_many_classes_are_refused_with_the_number_there_is() -> None:
    with pytest.raises(ValueError, match=r"data\.classes asks for 6 classes; Animals has 5"):
        choose_classes(6, ANIMALS, "Animals")


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(classes: int) -> None:
    with pytest.raises(ValueError, match=rf"data\.classes asks for {classes} classes.* 2 are needed"):
        choose_classes(classes, ANIMALS, "Animals")


def test_an_unknown_class_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="'bees', which Animals does not have; did you mean 'bee'"):
        choose_classes(["ant", "bees"], ANIMALS, "Animals")


def test_an_unknown_class_like_no_other_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'zyzzyva'.* it has ant, bee, cat, dog, eel"):
        choose_classes(["ant", "zyzzyva"], ANIMALS, "Animals")


@pytest.mark.parametrize("classes", [["ant"], [], ["ant", "bee", "ant"]], ids=["one", "none", "twice"])
def test_a_list_of_one_class_or_with_a_class_twice_is_refused(classes: list[str | int]) -> None:
    with pytest.raises(ValueError, match=r"data\.classes must list at least two classes, each once"):
        choose_classes(classes, ANIMALS, "Animals")


def _animals() -> ImageArrays:
    labels = _labels([3, 4, 5, 6, 7])
    images = labels.to(torch.uint8).view(-1, 1, 1, 1) * 10 + torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    return ImageArrays(images, labels, ANIMALS)


def test_kept_classes_are_numbered_in_the_order_given_and_keep_their_images() -> None:
    kept = keep_classes(_animals(), ["eel", "ant", "cat"])
    assert kept.class_names == ["eel", "ant", "cat"]
    assert torch.bincount(kept.labels).tolist() == [7, 3, 5]
    for image, label in (kept[i] for i in range(len(kept))):
        assert image.unique().item() == ANIMALS.index(kept.class_names[int(label)]) * 10


def test_keeping_all_classes_in_another_order_numbers_them_anew() -> None:
    kept = keep_classes(_animals(), ANIMALS[::-1])
    assert torch.equal(kept.labels, 4 - _animals().labels)


def test_keeping_all_classes_changes_nothing() -> None:
    arrays = _animals()
    kept = keep_classes(arrays, list(ANIMALS))
    assert torch.equal(kept.labels, arrays.labels)
    assert torch.equal(kept[:][0], arrays[:][0])


def test_classes_are_kept_of_a_selection_too() -> None:
    selection = _animals().select(torch.arange(24, -1, -2))
    kept = keep_classes(selection, ["dog", "bee"])
    assert torch.bincount(kept.labels).tolist() == [int((selection.labels == label).sum()) for label in (3, 1)]
    assert set(kept[kept.labels == 0][0].flatten().tolist()) == {30}
    assert set(kept[kept.labels == 1][0].flatten().tolist()) == {10}
