import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Script, forbidden
from PIL import Image

from lab.data.check import check_folder


def _picture(path: Path, seed: int, size: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A folder in which nothing is wrong."""
    folder = tmp_path / "pictures"
    for number, name in enumerate(("train/ant", "train/über bee", "test/ant", "test/über bee")):
        for seed in range(4):
            _picture(folder / name / f"photo {seed} ä.png", 10 * number + seed)
    return folder


def _kinds(folder: Path) -> Counter[tuple[str, str]]:
    return Counter((finding.severity, finding.kind) for finding in check_folder(folder).findings)


def test_nothing_is_said_of_a_folder_in_which_nothing_is_wrong(good: Path, script: Script) -> None:
    checked = check_folder(good)
    assert checked.findings == []
    assert checked.counts == {"train": {"ant": 4, "über bee": 4}, "test": {"ant": 4, "über bee": 4}}
    done = script("check_data.py", "pictures")
    assert done.returncode == 0, done.stderr
    assert "nothing is wrong" in done.stdout


def test_every_picture_that_is_broken_is_named(good: Path) -> None:
    ant = good / "train" / "ant"
    (ant / "empty.jpg").touch()
    (ant / "text.png").write_text("no picture")
    whole = _picture(ant / "whole.jpg", 99, 64).read_bytes()
    (ant / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (12_000, 12_000)).save(ant / "bomb.png")
    (ant / "gone.png").symlink_to("nowhere.png")
    (ant / "phone.heic").write_bytes(b"x")
    (ant / "loop").symlink_to(good, target_is_directory=True)
    checked = check_folder(good)
    broken = {Path(found.message.split(" cannot be read")[0]).name: found.message for found in checked.findings
              if found.kind == "broken"}  # fmt: skip
    assert broken.keys() == {"empty.jpg", "text.png", "cut.jpg", "bomb.png", "gone.png"}
    assert "it is empty" in broken["empty.jpg"]
    assert "more than the 100,000,000 allowed" in broken["bomb.png"]
    assert [found.kind for found in checked.findings if found.kind != "broken"] == ["not supported", "loop"]
    assert checked.findings[-1].message.startswith(f"{ant / 'loop'} leads back to {good}")
    assert checked.counts["train"]["ant"] == 5


def test_what_may_not_be_read_is_named(good: Path, open_path: Path) -> None:
    folder = Path(shutil.copytree(good, open_path / "pictures"))
    assert not check_folder(folder).findings
    picture, bees = folder / "train" / "ant" / "photo 0 ä.png", folder / "train" / "über bee"
    with forbidden(picture, 0):
        (finding,) = check_folder(folder).findings
    assert finding.message == f"{picture} cannot be read: Permission denied"
    with forbidden(bees, 0):
        (finding,) = check_folder(folder).findings
    assert (finding.severity, finding.kind) == ("error", "unreadable")
    assert finding.message == f"{bees} cannot be read: Permission denied"
    inside = _picture(bees / "more" / "one.png", 700).parent
    with forbidden(inside, 0):
        checked = check_folder(folder)
    assert [finding.message for finding in checked.findings] == [f"{inside} cannot be read: Permission denied"]
    assert checked.counts["train"]["über bee"] == 4  # the rest of its class is looked at


def test_pictures_beside_the_folders_of_classes_are_named(good: Path) -> None:
    strays = [_picture(good / "stray.png", 800), _picture(good / "train" / "another.png", 801)]
    strays.append(good / "photo.heic")
    strays[-1].write_bytes(b"from a telephone")
    found = check_folder(good).findings
    assert [(finding.severity, finding.kind) for finding in found] == [("warning", "stray")] * 2
    assert all(any(str(stray) in finding.message for finding in found) for stray in strays)


def test_links_that_lead_back_are_named_wherever_they_are(good: Path, tmp_path: Path) -> None:
    elsewhere = _picture(tmp_path / "elsewhere" / "cat" / "a.png", 900).parent
    _picture(elsewhere / "b.png", 901)
    (elsewhere / "loop").symlink_to(elsewhere.parent, target_is_directory=True)
    (good / "train" / "cat").symlink_to(elsewhere, target_is_directory=True)  # a class that lies elsewhere
    (good / "train" / "round").symlink_to(good, target_is_directory=True)
    found = check_folder(good).findings
    assert [finding.kind for finding in found] == ["loop", "loop"]
    assert found[0].message.startswith(f"{good}/train/cat/loop leads back to {elsewhere.parent}, in which it lies")
    assert found[1].message.startswith(f"{good}/train/round leads back to {good}, in which it lies")


def test_a_class_with_one_picture_an_empty_one_and_a_rare_one_are_named(good: Path) -> None:
    _picture(good / "train" / "lone" / "a.png", 500)
    (good / "train" / "hollow").mkdir()
    for seed in range(20):
        _picture(good / "train" / "many" / f"{seed}.png", 600 + seed)
    assert _kinds(good) == {("warning", "one picture"): 1, ("error", "empty class"): 1, ("warning", "unbalanced"): 1}
    _picture(good / "test" / "stranger" / "a.png", 700)
    assert _kinds(good)["error", "unknown class"] == 1


def test_copies_leaks_and_pictures_with_two_labels_are_told_apart(good: Path) -> None:
    ant = good / "train" / "ant" / "photo 0 ä.png"
    with Image.open(ant) as picture:
        picture.save(good / "test" / "ant" / "the same.bmp")  # other bytes, the same pixels
    (good / "train" / "ant" / "again.png").write_bytes((good / "train" / "ant" / "photo 1 ä.png").read_bytes())
    (good / "train" / "über bee" / "ant.png").write_bytes((good / "train" / "ant" / "photo 2 ä.png").read_bytes())
    findings = {found.kind: found.message for found in check_folder(good).findings}
    assert findings.keys() == {"leak", "copies", "two labels"}
    assert "one picture in test and train" in findings["leak"]
    assert str(ant) in findings["leak"]
    assert "the same.bmp" in findings["leak"]


def test_a_leak_under_another_label_is_named_as_both(good: Path) -> None:
    ant = good / "train" / "ant" / "photo 0 ä.png"
    shutil.copy(ant, good / "test" / "über bee" / "again.png")
    findings = {found.kind: found.message for found in check_folder(good).findings}
    assert findings.keys() == {"leak", "two labels"}
    assert all(str(ant) in message and "again.png" in message for message in findings.values())


def test_one_class_is_an_error_and_the_command_says_so_by_its_exit_code(tmp_path: Path, script: Script) -> None:
    for seed in range(3):
        _picture(tmp_path / "pictures" / "ant" / f"{seed}.png", seed)
    done = script("check_data.py", "pictures", "--json")
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["findings"] == [
        {"severity": "error", "kind": "one class", "message": "there is one class, ant: two are needed"}
    ]
    for arguments, said in ((["nowhere"], "nowhere does not exist"), ([], "required: folder")):
        done = script("check_data.py", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
