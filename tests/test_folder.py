import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from conftest import forbidden
from PIL import Image

from lab.data import picture_cache, picture_store
from lab.data.arrays import ImageArrays
from lab.data.folder import ImageFolder
from lab.data.held_out import hold_out_by_name
from lab.data.pictures import decode
from lab.models.classifier import Classifier
from lab.nets.conv import ConvNet

Decoded = Callable[[], int]


@pytest.fixture
def num_decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    """Say how many pictures were decoded since it was last asked."""
    count = 0

    def counted(*arguments: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        return decode(*arguments)

    def since() -> int:
        nonlocal count
        num, count = count, 0
        return num

    monkeypatch.setattr(picture_store, "decode", counted)
    return since


def _picture(path: Path, red: int = 0, green: int = 0, blue: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), (red, green, blue)).save(path)


def _classes(folder: Path, names: str, num: int, blue: int = 0) -> Path:
    """Make class folders; red tells the class, green the picture."""
    for label, name in enumerate(names.split()):
        for i in range(num):
            _picture(folder / name / f"{i}.png", 10 * label, i, blue)
    return folder


def _with_splits(folder: Path, **num: int) -> Path:
    for blue, (split, num_pictures) in enumerate(num.items()):
        _classes(folder / split, "ant bee cat", num_pictures, blue)
    return folder


def _read(folder: Any, tmp_path: Path, **options: Any) -> dict[str, ImageArrays]:
    data = ImageFolder(folder, image_size=4, **{"root": tmp_path / "root", **options})
    data.prepare_data()
    return data.read()


def _colours(arrays: ImageArrays) -> list[tuple[int, ...]]:
    """Return the colour of every picture of a split."""
    return [tuple(image[:, 0, 0].tolist()) for image in arrays[:][0]]


def _stores(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".lab_cache").glob("*.safetensors"))


def test_split_folders_are_the_splits(tmp_path: Path) -> None:
    folder = _with_splits(tmp_path / "data", train=5, val=2, test=3, extra=1)
    splits = _read(folder, tmp_path)
    assert {name: len(arrays) for name, arrays in splits.items()} == {"train": 15, "val": 6, "test": 9, "extra": 3}
    for blue, arrays in enumerate(splits[name] for name in ("train", "val", "test", "extra")):
        assert arrays.class_names == ["ant", "bee", "cat"]
        assert [colour[0] // 10 for colour in _colours(arrays)] == arrays.labels.tolist()
        assert {colour[2] for colour in _colours(arrays)} == {blue}


def test_extra_pictures_can_be_joined_to_training(tmp_path: Path) -> None:
    data = ImageFolder(_with_splits(tmp_path / "data", train=5, val=2, test=3, extra=1), image_size=4, join=["extra"])
    data.setup()
    assert {name: len(arrays) for name, arrays in data.splits.items()} == {"train": 18, "val": 6, "test": 9}


def test_classes_and_shape_are_known_before_anything_is_read(tmp_path: Path, num_decoded: Decoded) -> None:
    folder = _classes(tmp_path / "data", "zebra Ant über 10 9", 3)
    data = ImageFolder(folder, image_size=20, channels=1, root=tmp_path)
    assert data.class_names == ["10", "9", "Ant", "zebra", "über"]
    assert (data.num_classes, data.image_shape) == (5, (1, 20, 20))
    assert num_decoded() == 0
    assert not (folder / ".lab_cache").exists()
    assert ImageFolder(folder, classes=["über", "9"]).num_classes == 2


def test_a_missing_val_is_held_out_of_train_and_a_missing_test_too(tmp_path: Path) -> None:
    data = ImageFolder(_with_splits(tmp_path / "data", train=20), image_size=4)
    data.setup()
    assert {name: len(arrays) for name, arrays in data.splits.items()} == {"train": 43, "val": 5, "test": 12}


@pytest.mark.parametrize("has_test", [False, True])
def test_the_files_of_the_test_pictures_are_those_whose_pixels_are_tested_on(tmp_path: Path, has_test: bool) -> None:
    folder = tmp_path / "pictures"
    for split in ("train", "test") if has_test else (".",):
        for number, name in enumerate("ab"):
            for shade in range(20):
                _picture(folder / split / name / f"{shade}.png", 12 * shade, 100 * number, 200 * (split == "test"))
    data = ImageFolder(folder, image_size=2, root=tmp_path, test_size=0.3)
    data.prepare_data()
    data.setup()
    listed = data.test_pictures()
    assert len(listed) == len(data.splits["test"]) == (40 if has_test else 12)
    colours = [tuple(decode(path, 2)[:, 0, 0].tolist()) for path, _ in listed]
    assert colours == _colours(data.splits["test"])
    assert [data.class_names.index(name) for _, name in listed] == data.splits["test"].labels.tolist()
    some = ImageFolder(folder, root=tmp_path, test_size=0.3, classes=["b", "a"])
    assert some.test_pictures() == listed


def test_fit_channels_and_image_size_decide_the_arrays(tmp_path: Path) -> None:
    folder = _with_splits(tmp_path / "data", train=3, test=3)
    padded = _read(folder, tmp_path, fit="pad", channels=1)["train"][:][0]
    assert padded.shape == (9, 1, 4, 4)
    assert padded[5, 0, 0].sum() > 0
    assert padded[5, 0, 3].sum() == 0  # 5 x 4 pixels become 4 x 3, with a row of black below
    with pytest.raises(ValueError, match="not 64, crop and 2"):
        ImageFolder(folder, channels=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"data\.fit one of crop, squash, pad"):
        ImageFolder(folder, fit="stretch")  # type: ignore[arg-type]


def test_nested_folders_odd_names_and_capital_endings_are_read_and_the_rest_left_out(tmp_path: Path) -> None:
    folder = _classes(tmp_path / "my data", "a b", 2)
    for name in ("deep/er/x.png", "ein Bild, schön.PNG", "日本.Png", "x.y.png"):
        _picture(folder / "a" / name, 0, 50)
    for name in (".hidden.png", ".cache/x.png", "._0.png"):
        _picture(folder / "a" / name, 0, 99)
    for name in ("notes.txt", "a/Thumbs.db", "a/0.json", "a/deep/labels.csv"):
        (folder / name).write_text("nothing to see")
    (folder / ".git").mkdir()
    (folder / "a" / "empty").mkdir()
    (folder / "a" / "Sätze").symlink_to(folder / "a" / "missing")
    assert ImageFolder(folder).class_names == ["a", "b"]
    splits = _read(folder, tmp_path, test_size=1)
    colours = _colours(splits["train"]) + _colours(splits["test"])
    assert sorted(colour[1] for colour in colours if colour[0] == 0) == [0, 1, 50, 50, 50, 50]


def test_links_that_lead_round_in_circles_end(tmp_path: Path) -> None:
    folder = _classes(tmp_path / "data", "a b", 3)
    _picture(folder / "a" / "one" / "x.png", 0, 50)
    (folder / "loop").symlink_to(folder)
    (folder / "a" / "up").symlink_to(folder / "a")
    (folder / "a" / "top").symlink_to(tmp_path)
    (folder / "a" / "one" / "two").symlink_to(folder / "a" / "two")
    (folder / "a" / "two").mkdir()
    (folder / "a" / "two" / "one").symlink_to(folder / "a" / "one")
    (folder / "a" / "itself").symlink_to(folder / "a" / "itself")
    splits = _read(folder, tmp_path)
    assert splits["train"].class_names == ["a", "b"]
    assert len(splits["train"]) + len(splits["test"]) == 7


def test_linked_classes_and_pictures_are_read(tmp_path: Path) -> None:
    elsewhere = _classes(tmp_path / "elsewhere", "a b", 4)
    folder = tmp_path / "data"
    (folder / "b").mkdir(parents=True)
    (folder / "a").symlink_to(elsewhere / "a")
    for path in (elsewhere / "b").iterdir():
        (folder / "b" / path.name).symlink_to(path)
    splits = _read(folder, tmp_path)
    assert len(splits["train"]) + len(splits["test"]) == 8


def test_classes_may_have_the_names_of_splits(tmp_path: Path) -> None:
    assert ImageFolder(_classes(tmp_path / "data", "car train", 3)).class_names == ["car", "train"]


def test_splits_are_disjoint_complete_and_stratified(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for label, num in enumerate((10, 20, 33)):
        _classes(folder, " ".join("abc"[: label + 1]), num)
    data = ImageFolder(folder, image_size=4)
    data.setup()
    colours = {name: set(_colours(arrays)) for name, arrays in data.splits.items()}
    assert sum(len(part) for part in colours.values()) == len(set().union(*colours.values())) == 33 * 3
    for due, name in ((0.2 * 33, "test"), (0.1 * 0.8 * 33, "val")):
        assert all(abs(count - due) < 1.5 for count in data.splits[name].labels.bincount(minlength=3).tolist())


def test_the_split_does_not_depend_on_the_seed_or_the_place(tmp_path: Path) -> None:
    folder = _classes(tmp_path / "data", "a b", 20)
    first = _read(folder, tmp_path, seed=1)
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".lab_cache"))
    for there, seed in ((folder, 2), (tmp_path / "copy", 3)):
        again = _read(there, tmp_path, seed=seed)
        assert all(torch.equal(first[name][:][0], again[name][:][0]) for name in ("train", "test"))


def test_a_new_picture_moves_no_picture_of_another_class_and_at_most_one_of_its_own() -> None:
    names = [f"{i}.png" for i in range(30)]
    before = hold_out_by_name(names * 2, [0] * 30 + [1] * 30, ["a", "b"], 0.25)
    assert all(abs(sum(position // 30 == label for position in before) - 7.5) < 1 for label in (0, 1))
    assert {position for position in before if position < 30} != {position - 30 for position in before if position >= 30}
    for new in range(20):
        after = hold_out_by_name([*names * 2, f"new {new}.png"], [0] * 30 + [1] * 31, ["a", "b"], 0.25)
        assert [position for position in after if position < 30] == [position for position in before if position < 30]
        assert len((set(before) ^ set(after)) - {60}) <= 1


@pytest.mark.parametrize("test_size", [1, 7, 30, 40.0])
def test_a_number_of_test_pictures_is_kept_to_exactly(test_size: int, tmp_path: Path) -> None:
    counts = (30, 10, 20)
    labels = [label for label, num in enumerate(counts) for _ in range(num)]
    chosen = hold_out_by_name([str(i) for i in range(60)], labels, ["a", "b", "c"], test_size)
    assert len(chosen) == test_size
    for label, num in enumerate(counts):
        assert abs(sum(labels[i] == label for i in chosen) - num * test_size / 60) < 1


def test_small_classes_give_in_proportion_together_and_never_their_last_picture() -> None:
    names = ["x", "y", "z"] * 100
    chosen = hold_out_by_name(names, [i // 3 for i in range(300)], [str(i) for i in range(100)], 0.2)
    assert 40 < len(chosen) < 80
    assert hold_out_by_name(["x", "x", "y"], [0, 1, 1], ["a", "b"], 0.8) in ([1], [2])
    for names in (["x", "y"], ["u", "v"], ["1", "2"]):
        assert len(hold_out_by_name(names * 3, [0] * 3 + [1] * 3, ["a", "b"], 0.2)) >= 1


@pytest.mark.parametrize("test_size", [0, -1, 1.0, 2.5, 0.001, 6, 100, float("nan")])
def test_a_test_size_that_cannot_be_is_said_before_anything_is_decoded(
    test_size: float, tmp_path: Path, num_decoded: Decoded
) -> None:
    folder = _classes(tmp_path / "data", "a b", 3)
    with pytest.raises(ValueError, match=r"^data\.test_size"):
        _read(folder, tmp_path, test_size=test_size)
    assert num_decoded() == 0


def _missing(folder: Path) -> str:
    return f"data.folder {folder} does not exist"


def _a_file(folder: Path) -> str:
    folder.write_text("")
    return f"data.folder {folder} is not a folder"


def _empty(folder: Path) -> str:
    folder.mkdir()
    return f"data.folder {folder} has no folders in it"


def _without_folders(folder: Path) -> str:
    _picture(folder / "0.png")
    return f"data.folder {folder} has no folders in it"


def _an_empty_split(folder: Path) -> str:
    _classes(folder / "train", "a b", 2)
    (folder / "test").mkdir()
    return f"data.folder {folder}/test has no folders in it"


def _one_class(folder: Path) -> str:
    _classes(folder, "a", 5)
    return f"data.folder {folder} has one class, a"


def _an_empty_class(folder: Path) -> str:
    _classes(folder, "a b", 2)
    (folder / "c").mkdir()
    return f"{folder}/c has no pictures in it"


def _an_empty_class_to_train_on(folder: Path) -> str:
    _with_splits(folder, train=2, val=2)
    shutil.rmtree(folder / "train" / "ant")
    (folder / "train" / "ant").mkdir()
    return f"{folder}/train/ant has no pictures in it"


def _a_class_only_to_validate(folder: Path) -> str:
    _with_splits(folder, train=2, val=2)
    shutil.rmtree(folder / "train" / "bee")
    return f"{folder}/val/bee is a class of val that train does not have"


def _no_train(folder: Path) -> str:
    _with_splits(folder, val=2, test=2)
    return f"data.folder {folder} has test and val, but no train"


def _a_stranger(folder: Path) -> str:
    _with_splits(folder, train=2, valid=2)
    return f"data.folder {folder} has valid beside train; there may only be val, test and extra"


def _no_known_ending(folder: Path) -> str:
    _classes(folder, "a b", 2)
    (folder / "c").mkdir()
    (folder / "c" / "x.raw").write_bytes(b"1")
    return f"{folder}/c has files, such as x.raw, but none that ends in .bmp, "


def _not_read(folder: Path) -> str:
    _classes(folder, "a b", 2)
    (folder / "b" / "IMG_1.HEIC").write_bytes(b"1")
    return f"{folder}/b/IMG_1.HEIC cannot be read: .HEIC is not supported; convert it to JPEG or PNG"


def _a_test_without_pictures(folder: Path) -> str:
    _with_splits(folder, train=2)
    (folder / "test" / "ant").mkdir(parents=True)
    return f"{folder}/test has no pictures in it"


def _a_lost_link(folder: Path) -> str:
    _classes(folder, "a b", 2)
    (folder / "b" / "x.png").symlink_to(folder / "nowhere")
    return f"{folder}/b/x.png cannot be read: No such file or directory"


def _a_pipe(folder: Path) -> str:
    _classes(folder, "a b", 2)
    os.mkfifo(folder / "b" / "x.png")
    return f"{folder}/b/x.png cannot be read: it is not a file"


WRONG = [
    _missing, _a_file, _empty, _without_folders, _an_empty_split, _one_class, _an_empty_class, _an_empty_class_to_train_on,
    _a_class_only_to_validate, _no_train, _a_stranger, _no_known_ending, _not_read, _a_test_without_pictures, _a_lost_link,
    _a_pipe,
]  # fmt: skip


@pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__.strip("_"))
def test_a_folder_that_will_not_do_is_said_in_one_line_before_anything_is_decoded(
    make: Callable[[Path], str], tmp_path: Path, num_decoded: Decoded
) -> None:
    message = make(tmp_path / "data")
    with pytest.raises(ValueError) as refusal:
        _read(tmp_path / "data", tmp_path)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
    assert num_decoded() == 0
    assert not (tmp_path / "data" / ".lab_cache").exists()


def test_broken_pictures_are_named_and_leave_no_store(tmp_path: Path) -> None:
    folder = _classes(tmp_path / "data", "a b", 5)
    (folder / "a" / "3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^1 of 10 pictures are to be .*a/3\.png cannot be read: it is empty$"):
        _read(folder, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_pictures_are_decoded_once(tmp_path: Path, num_decoded: Decoded) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    first = _read(folder, tmp_path)
    assert num_decoded() == 18
    assert [name.split("-")[0] for name in _stores(folder)] == ["test", "train"]
    second = _read(folder, tmp_path)
    assert num_decoded() == 0
    assert all(torch.equal(first[name][:][0], second[name][:][0]) for name in first)
    assert not (tmp_path / "root").exists()


def test_another_test_size_needs_no_new_decoding(tmp_path: Path, num_decoded: Decoded) -> None:
    folder = _classes(tmp_path / "data", "a b", 10)
    _read(folder, tmp_path)
    assert num_decoded() == 20
    assert len(_read(folder, tmp_path, test_size=0.5)["test"]) == 10
    assert num_decoded() == 0


def _touch(folder: Path) -> None:
    os.utime(folder / "train" / "ant" / "0.png", ns=(1, 1))


def _add(folder: Path) -> None:
    _picture(folder / "train" / "ant" / "more.png")


def _remove(folder: Path) -> None:
    (folder / "train" / "ant" / "0.png").unlink()


def _rename(folder: Path) -> None:
    (folder / "train" / "ant" / "0.png").rename(folder / "train" / "ant" / "9.png")


def _move_to_another_class(folder: Path) -> None:
    (folder / "train" / "ant" / "3.png").rename(folder / "train" / "bee" / "9.png")


def _replace_keeping_the_time(folder: Path) -> None:
    path = folder / "train" / "ant" / "0.png"
    time_before = path.stat().st_mtime_ns
    Image.new("RGB", (500, 400)).save(path)
    os.utime(path, ns=(time_before, time_before))


@pytest.mark.parametrize("change", [_touch, _add, _remove, _rename, _move_to_another_class, _replace_keeping_the_time])
def test_a_change_of_the_files_makes_the_store_of_their_split_anew_and_removes_the_old(
    change: Callable[[Path], None], tmp_path: Path, num_decoded: Decoded
) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    _read(folder, tmp_path)
    [test_store, train_store] = _stores(folder)
    num_decoded()
    change(folder)
    num = len(_read(folder, tmp_path)["train"])
    assert num_decoded() == num
    assert len(_stores(folder)) == 2
    assert test_store in _stores(folder)
    assert train_store not in _stores(folder)


def test_a_new_class_makes_all_stores_anew(tmp_path: Path, num_decoded: Decoded) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    _read(folder, tmp_path)
    _picture(folder / "train" / "aardvark" / "0.png")
    num_decoded()
    assert _read(folder, tmp_path)["test"].class_names == ["aardvark", "ant", "bee", "cat"]
    assert num_decoded() == 19
    assert len(_stores(folder)) == 2


def test_stores_of_other_settings_are_kept(tmp_path: Path, num_decoded: Decoded) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    settings: list[dict[str, Any]] = [{}, {"channels": 1}, {"fit": "pad"}, {"fit": "squash", "channels": 1}]
    for options in settings * 2:
        _read(folder, tmp_path, **options)
    assert num_decoded() == 4 * 18
    assert len(_stores(folder)) == 8


def test_a_folder_keeps_its_stores_when_it_is_moved(tmp_path: Path, num_decoded: Decoded) -> None:
    _read(_with_splits(tmp_path / "data", train=4, test=2), tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    num_decoded()
    _read(tmp_path / "moved", tmp_path)
    assert num_decoded() == 0


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    _read(folder, tmp_path)
    old, new = (folder / ".lab_cache" / f".train-4-crop-3-{name}.safetensors.0123" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"unfinished")
    os.utime(old, (time.time() - 100_000,) * 2)
    _touch(folder)
    _read(folder, tmp_path)
    assert not old.exists()
    assert new.exists()


def _refuse_below(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decode_all = picture_store.decode_all

    def refuse(*arguments: Any) -> None:
        if set(folders) & set(arguments[3].parents):
            raise OSError(30, "Read-only file system")
        decode_all(*arguments)

    monkeypatch.setattr(picture_cache, "decode_all", refuse)


def test_stores_of_a_folder_that_cannot_be_written_lie_below_the_root(
    tmp_path: Path, num_decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [_with_splits(tmp_path / name, train=4, test=2) for name in ("one", "two")]
    _refuse_below(folders, monkeypatch)
    for num in (18, 0):
        for folder in folders:
            assert len(_read(folder, tmp_path)["train"]) == 12
            assert num_decoded() == num
    _touch(folders[0])
    for folder, num in zip(folders, (12, 0), strict=True):
        _read(folder, tmp_path)
        assert num_decoded() == num
    assert [len(list(path.glob("*.safetensors"))) for path in (tmp_path / "root" / "folders").iterdir()] == [2, 2]
    assert not (tmp_path / "one" / ".lab_cache").exists()


def test_a_folder_without_the_right_to_write_is_read(open_path: Path) -> None:
    folder = _with_splits(open_path / "data", train=4, test=2)
    (open_path / "elsewhere").mkdir()
    (open_path / "elsewhere").chmod(0o777)
    with forbidden(folder, 0o555):
        assert len(_read(folder, open_path / "elsewhere")["train"]) == 12
    assert (open_path / "elsewhere" / "root" / "folders").exists()
    assert not (folder / ".lab_cache").exists()


def test_pictures_without_the_right_to_read_them_are_named_and_leave_no_store(open_path: Path) -> None:
    folder = _with_splits(open_path / "data", train=4, test=2)
    folder.chmod(0o777)
    picture, bees = folder / "train" / "ant" / "1.png", folder / "train" / "bee"
    with forbidden(picture, 0), pytest.raises(ValueError, match=rf"{picture} cannot be read: Permission denied"):
        _read(folder, open_path)
    with forbidden(bees, 0), pytest.raises((ValueError, OSError), match=r"Permission denied.*bee"):
        _read(folder, open_path)
    assert not list((folder / ".lab_cache").glob("train*"))


def test_where_nothing_can_be_written_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    _refuse_below([tmp_path], monkeypatch)
    with pytest.raises(ValueError, match=r"data/\.lab_cache \(Read-only file system\) or in .*; name a folder"):
        _read(folder, tmp_path)


def test_a_store_that_was_cut_short_is_named(tmp_path: Path) -> None:
    folder = _with_splits(tmp_path / "data", train=4, test=2)
    _read(folder, tmp_path)
    store = folder / ".lab_cache" / _stores(folder)[1]
    store.write_bytes(store.read_bytes()[:-10])
    with pytest.raises(ValueError, match=f"{store.name} is not an image store"):
        _read(folder, tmp_path)


def test_a_second_folder_adds_its_classes_and_pictures_to_training(tmp_path: Path, num_decoded: Decoded) -> None:
    one = _classes(tmp_path / "one", "b c", 10)
    two = _classes(tmp_path / "two", "a b", 10, blue=99)
    alone = _read(one, tmp_path)
    splits = _read([one, two], tmp_path)
    assert splits["train"].class_names == splits["test"].class_names == ["a", "b", "c"]
    assert splits["train"].labels.bincount().tolist() == [10, 18, 8]
    assert _colours(splits["test"]) == _colours(alone["test"])
    assert {colour[2] for colour in _colours(splits["test"])} == {0}
    assert num_decoded() == 20 + 40
    for folder in (one, [one, two]):
        _read(folder, tmp_path)
    assert num_decoded() == 0


def test_the_splits_of_several_folders_are_joined_one_by_one(tmp_path: Path) -> None:
    one = _with_splits(tmp_path / "one", train=4, val=1, test=2)
    two = _with_splits(tmp_path / "two", train=3, test=1)
    three = _classes(tmp_path / "three", "ant cat", 2)
    splits = _read([one, two, three], tmp_path)
    assert {name: len(arrays) for name, arrays in splits.items()} == {"train": 25, "val": 3, "test": 9}


def test_a_folder_cannot_be_joined_to_itself(tmp_path: Path) -> None:
    folder = _classes(tmp_path / "one", "b c", 10)
    (tmp_path / "link").symlink_to(folder)
    for folders in ([folder, tmp_path / "link"], []):
        with pytest.raises(ValueError, match="must name folders, each once"):
            ImageFolder(folders)  # type: ignore[arg-type]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.open(source).save(target)  # of other bytes, where the ending is another


def test_pictures_that_are_tested_on_and_trained_on_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _with_splits(tmp_path / "data", train=4, val=3, test=5)
    for number in range(5):
        _copy(folder / "test" / "ant" / f"{number}.png", folder / "train" / "ant" / f"again {number}.bmp")
    _copy(folder / "val" / "bee" / "1.png", folder / "train" / "bee" / "seen.png")
    _read(folder, tmp_path)
    of_val, of_test = [record.getMessage() for record in caplog.records]
    assert of_val.startswith("warning: 1 of the 9 val pictures is trained on too, which flatters the score: ")
    assert f"{folder / 'val' / 'bee' / '1.png'} is {folder / 'train' / 'bee' / 'seen.png'};" in of_val
    assert "5 of the 15 test pictures are trained on too" in of_test
    assert f"{folder / 'test' / 'ant' / '0.png'} is {folder / 'train' / 'ant' / 'again 0.bmp'}, " in of_test
    assert "and 2 more; scripts/check_data.py names all" in of_test


def test_pictures_of_a_joined_split_count_as_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _with_splits(tmp_path / "data", train=4, extra=2, test=5)
    _copy(folder / "test" / "cat" / "3.png", folder / "extra" / "cat" / "copy.png")
    _read(folder, tmp_path)
    assert not caplog.records
    _read(folder, tmp_path, join=["extra"])
    (record,) = caplog.records
    assert str(folder / "extra" / "cat" / "copy.png") in record.getMessage()


def test_a_copy_that_is_held_out_of_training_to_test_on_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _classes(tmp_path / "data", "ant bee", 6)
    _read(folder, tmp_path)
    assert not caplog.records
    for number in range(6):
        _copy(folder / "ant" / f"{number}.png", folder / "ant" / f"copy {number}.png")
    splits = _read(folder, tmp_path)
    shared = set(_colours(splits["train"])) & set(_colours(splits["test"]))
    assert shared  # of 12 pictures in 6 pairs, 2 or 3 are held out
    (record,) = caplog.records
    assert f"{len(shared)} of the {len(splits['test'])} test pictures" in record.getMessage()


def test_a_classifier_learns_from_a_folder(tmp_path: Path) -> None:
    for name, left in (("left", 0), ("right", 30)):
        for i in range(30):
            image = Image.new("RGB", (60, 50), (i, 2 * i, 90))
            image.paste((255, 255 - i, 0), (left, 10, left + 30, 40))
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "data" / name / f"{i}.jpg")
    data = ImageFolder(tmp_path / "data", image_size=16, batch_size=8)
    lightning.seed_everything(0, verbose=False)
    model = Classifier(ConvNet(data.image_shape, width=8, depth=2, embedding_size=16), data.num_classes)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    assert trainer.callback_metrics["val/accuracy"].item() > 0.8
    assert trainer.test(model, data, verbose=False)[0]["test/accuracy"] > 0.8
