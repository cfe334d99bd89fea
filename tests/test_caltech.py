from pathlib import Path

import pytest
from conftest import Script

from lab.data.caltech import BY_HAND, COUNTS, FIVE, NUM_PICTURES, chosen


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Files with the names that Caltech-101 has, each with its name in it."""
    folder = tmp_path / "101_ObjectCategories"
    for name, num in NUM_PICTURES.items():
        (folder / name).mkdir(parents=True)
        for number in range(1, num + 1):
            (folder / name / f"image_{number:04d}.jpg").write_text(f"{name} {number}")
    return folder


def test_the_pictures_are_those_that_were_measured_on() -> None:
    pictures = chosen()
    of_watch = sorted(path.name for path in pictures["caltech35"] if path.parts[:2] == ("train", "watch"))
    assert of_watch[:5] == [f"image_{number:04d}.jpg" for number in (1, 6, 12, 37, 40)]
    of_leopards = sorted(path.name for path in pictures["caltech5"] if path.parts[0] == "Leopards")
    assert of_leopards[:5] == [f"image_{number:04d}.jpg" for number in (2, 4, 6, 8, 10)]


def test_no_picture_is_in_two_parts_and_each_class_has_as_many() -> None:
    pictures = chosen()
    assert len({path.parts[1:] for path in pictures["caltech35"]}) == len(pictures["caltech35"]) == 35 * sum(COUNTS.values())
    for part, num in COUNTS.items():
        for name in NUM_PICTURES:
            assert sum(path.parts[:2] == (part, name) for path in pictures["caltech35"]) == num
    assert len(set(pictures["caltech5"])) == 500
    assert {path.parts[0] for path in pictures["caltech5"]} == set(FIVE)


def test_the_script_copies_them_and_leaves_what_is_there(script: Script, tmp_path: Path, original: Path) -> None:
    (tmp_path / "root" / "caltech5").mkdir(parents=True)
    done = script("caltech.py", "root", "--original", str(original))
    assert done.returncode == 0, done.stderr
    assert "caltech5, which was there" in done.stdout
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["caltech35", "caltech5"]
    copied = list((tmp_path / "root" / "caltech35").rglob("*.jpg"))
    assert {path.relative_to(tmp_path / "root" / "caltech35") for path in copied} == set(chosen()["caltech35"])
    assert all(path.read_text() == f"{path.parent.name} {int(path.stem[-4:])}" for path in copied)
    assert list((tmp_path / "root" / "caltech5").iterdir()) == []


def test_a_folder_that_is_not_caltech_101_is_refused_and_nothing_is_made(
    script: Script, tmp_path: Path, original: Path
) -> None:
    (original / "crab" / "image_0007.jpg").unlink()
    done = script("caltech.py", "root", "--original", str(original))
    assert done.returncode == 2
    assert "crab has 72 pictures, not the 73 of Caltech-101: unpack 101_ObjectCategories" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "root").exists()


def test_where_nothing_can_be_downloaded_the_way_by_hand_is_said(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import Caltech101

    def offline(self: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(Caltech101, "download", offline)
    done = script("caltech.py", "root")
    assert done.returncode == 2
    assert "Caltech-101 is not in root and cannot be downloaded (no route to host): unpack" in done.stderr.splitlines()[-1]
    assert BY_HAND in done.stderr
    assert not (tmp_path / "root").exists()
