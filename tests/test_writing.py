import json
import math
from pathlib import Path

import pytest

from lab.writing import json_text, whole_file


def test_a_file_takes_the_place_of_the_one_before_and_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    (tmp_path / "plain").write_text("")
    for text in ("old", "new"):
        with whole_file(path) as unfinished:
            unfinished.write_text(text)
            unfinished.chmod(0o600)
        assert path.read_text() == text
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "plain"]


@pytest.mark.parametrize("failing", ["write_text", "replace"])
def test_what_cannot_be_written_leaves_nothing_behind_and_what_was_there(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(written: Path, *_: object) -> None:
        Path.touch(written)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, failing, fail)
    with pytest.raises(ValueError, match=r"a\.json cannot be written: No space left on device"), whole_file(path) as unfinished:
        unfinished.write_text("new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_a_file_that_was_not_finished_is_removed_whatever_went_wrong(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.json") as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.jpg", "must end in .htm or .html"), ("no/a.html", "there is no folder"), ("b.html", "it is a folder")],
)
def test_what_cannot_be_written_is_refused_before_the_work(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "b.html").mkdir()
    with pytest.raises(ValueError, match=said), whole_file(tmp_path / name, ".htm", ".html"):
        raise AssertionError("the work was begun")


def test_a_number_that_json_does_not_have_is_null() -> None:
    assert json.loads(json_text({"a": [math.nan, 1.5], "b": {"c": math.inf}})) == {"a": [None, 1.5], "b": {"c": None}}
