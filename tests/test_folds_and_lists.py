from pathlib import Path
from typing import Any

import pytest
import torch
from test_noise_and_joining import Disjoint, Numbered, _numbers

from lab.data import MNIST, Folds, Synthetic
from lab.data.folds import fold_of_each


def _set_up(**options: Any) -> Numbered:
    data = Numbered(**options)
    data.setup()
    return data


def test_each_image_is_validated_on_in_exactly_one_turn_and_trained_on_in_all_others() -> None:
    turns = [_set_up(folds=Folds(4, turn)) for turn in range(4)]
    validated = [number for data in turns for number in _numbers(data, "val")]
    assert sorted(validated) == list(range(60))
    for data in turns:
        assert sorted(_numbers(data, "train") + _numbers(data, "val")) == list(range(60))
        assert _numbers(data, "test") == list(range(150, 162))


@pytest.mark.parametrize(("num_images", "num_folds"), [(60, 5), (61, 7), (10, 10), (13, 2)])
def test_folds_hold_as_many_of_each_class_to_within_one(num_images: int, num_folds: int) -> None:
    labels = torch.randint(3, (num_images,), generator=torch.Generator().manual_seed(0))
    folds = fold_of_each(labels, num_folds)
    for label in range(3):
        counts = folds[labels == label].bincount(minlength=num_folds)
        assert counts.max() - counts.min() <= 1
    assert folds.bincount(minlength=num_folds).max() - folds.bincount(minlength=num_folds).min() <= 1


def test_the_folds_are_the_same_whatever_the_seed() -> None:
    assert _numbers(_set_up(folds=Folds(3, 1), seed=0), "val") == _numbers(_set_up(folds=Folds(3, 1), seed=7), "val")


def test_joined_validation_images_are_parted_into_folds_too() -> None:
    turns = [_set_up(join=["val"], folds=Folds(3, turn)) for turn in range(3)]
    assert sorted(number for data in turns for number in _numbers(data, "val")) == [*range(60), *range(100, 112)]


def test_the_true_labels_are_those_of_the_images_still_trained_on() -> None:
    data = _set_up(label_noise=0.5, folds=Folds(3, 2))
    numbers = data.splits["train"][:][0][:, 0, 0, 0]
    assert torch.equal(data.true_labels, numbers.long() % 3)
    assert (data.splits["train"].labels != data.true_labels).any()


def test_a_fold_is_labelled_as_what_it_is_taken_from() -> None:
    whole, turn = _set_up(label_noise=0.5), _set_up(label_noise=0.5, folds=Folds(3, 2))
    labels = {int(image[0, 0, 0]): int(label) for image, label in zip(*whole.splits["train"][:], strict=True)}
    for image, label in zip(*turn.splits["val"][:], strict=True):
        assert labels[int(image[0, 0, 0])] == int(label)


@pytest.mark.parametrize(("num", "held_out"), [(1, 0), (3, 3), (3, -1)])
def test_folds_that_cannot_be_are_refused(num: int, held_out: int) -> None:
    with pytest.raises(ValueError, match=r"data.folds needs num of 2 or more and held_out from 0"):
        Folds(num, held_out)


def test_more_folds_than_images_and_validation_on_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"folds.num 61 is more than the 60 training images"):
        _set_up(folds=Folds(61, 0))
    with pytest.raises(ValueError, match="validates on classes of its own"):
        Disjoint(folds=Folds(3, 0)).setup()


def test_the_first_images_are_held_out_where_that_is_asked_for() -> None:
    data = _set_up(validation_size=20, hold_out="first")
    assert _numbers(data, "val") == list(range(20))
    assert _numbers(data, "train") == [*range(20, 60), *range(100, 112)]  # its own validation images are trained on then
    with pytest.raises(ValueError, match="hold_out must be stratified or first, not 'last'"):
        _set_up(validation_size=20, hold_out="last")


def test_the_first_images_are_those_of_all_classes_of_which_the_classes_in_use_are_kept() -> None:
    data = _set_up(validation_size=20, hold_out="first", classes=["a", "c"])
    assert _numbers(data, "val") == [number for number in range(20) if number % 3 != 1]
    assert set(_numbers(data, "train")) == {
        n for n in (*range(20, 60), *range(100, 112)) if (n if n < 60 else n - 100) % 3 != 1
    }


def _list(path: Path, rows: list[tuple[object, ...]], columns: str = "position,label") -> Path:
    path.write_text("\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_listed_images_are_left_out_by_their_position_and_the_rest_keeps_its_labels(tmp_path: Path) -> None:
    listed = _list(tmp_path / "list.csv", [(0, "a", 3.5), (59, "c", 1.0), (7, "b", 0.2)], "position,label,loss")
    data = _set_up(exclude=listed)
    assert _numbers(data, "train") == [number for number in range(60) if number not in (0, 7, 59)]
    numbers = data.splits["train"][:][0][:, 0, 0, 0]
    assert torch.equal(data.splits["train"].labels, numbers.long() % 3)
    assert torch.equal(data.true_labels, numbers.long() % 3)


def test_labels_are_left_out_after_noise_whose_draw_stays_the_same(tmp_path: Path) -> None:
    whole = _set_up(label_noise=0.5)
    given = [whole.class_names[label] for label in whole.splits["train"].labels.tolist()]
    data = _set_up(label_noise=0.5, exclude=_list(tmp_path / "list.csv", [(5, given[5])]))
    kept = [place for place in range(60) if place != 5]
    assert torch.equal(data.splits["train"].labels, whole.splits["train"].labels[kept])


def test_a_list_of_other_images_is_refused_by_its_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"list.csv:3 is not of these training images: image 1 is labelled 'b' here and 'c'"):
        _set_up(exclude=_list(tmp_path / "list.csv", [(0, "a"), (1, "c")]))
    with pytest.raises(ValueError, match="names image 60 of 60 training images"):
        _set_up(exclude=_list(tmp_path / "list.csv", [(60, "a")]))


def test_a_list_that_leaves_nothing_of_a_class_is_said_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _set_up(exclude=_list(tmp_path / "list.csv", [(place, "b") for place in range(1, 58, 3)]))
    assert caplog.text == ""
    _set_up(exclude=_list(tmp_path / "list.csv", [(place, "b") for place in range(1, 60, 3)]))
    assert "list.csv leaves no training image that is labelled b: make a shorter list by scripts/clean.py" in caplog.text


@pytest.mark.parametrize(
    ("rows", "columns", "complaint"),
    [
        ([("0", "a")], "place,label", "must be a CSV file with the columns position and label"),
        ([("zero", "a")], "position,label", "must be a CSV file with the columns position and label"),
        ([(place, "abc"[place % 3]) for place in range(60)], "position,label", "names all 60 training images"),
    ],
)
def test_what_is_no_list_is_refused(rows: list[tuple[object, ...]], columns: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        _set_up(exclude=_list(tmp_path / "list.csv", rows, columns))


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.exclude: there is no file .*list.csv"):
        _set_up(exclude=tmp_path / "list.csv")


def test_the_bundled_digits_can_be_cross_validated_and_synthetic_ones_too() -> None:
    for data in (MNIST(bundled=True, folds=Folds(5, 0)), Synthetic(folds=Folds(5, 0))):
        data.setup()
        assert len(data.splits["val"]) == pytest.approx(len(data.splits["train"]) / 4, abs=1)
