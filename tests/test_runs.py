import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Script

from lab.run_list import list_runs


def _run(folder: Path, state: str | None, process: int | None = None, machine: str | None = None, **scores: float) -> Path:
    """Write the folder of a run by hand."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: a\n")
    if scores:
        (folder / "metrics.json").write_text(json.dumps({f"test/{name}": value for name, value in scores.items()}))
    if state is not None:
        noted = {
            "state": state,
            "reason": "ValueError: no" if state == "failed" else None,
            "since": "2020-01-01T00:00:00+00:00",
        }
        noted |= {"process": process or os.getpid(), "machine": machine or platform.node()}  # type: ignore[dict-item]
        (folder / "state.json").write_text(json.dumps(noted))
    return folder


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def logs(tmp_path: Path, dead: int) -> Path:
    logs = tmp_path / "logs"
    _run(logs / "a" / "version_0", "finished", accuracy=0.9, auc=0.8)
    _run(logs / "a" / "version_1", "failed")
    _run(logs / "b" / "version_0", "running")
    _run(logs / "b" / "version_1", "running", dead)
    _run(logs / "b" / "version_2", "running", dead, machine="elsewhere")
    _run(logs / "c" / "version_0", None, pair_accuracy=0.7)
    _run(logs / "d" / "version_0", None)
    (logs / "d" / "version_0" / "state.json").write_text("{")
    return logs


def test_only_runs_are_listed_and_none_is_removed_that_holds_another(script: Script, logs: Path) -> None:
    (logs / "thesis").mkdir()
    (logs / "thesis" / "config.yaml").write_text("title: mine\n")
    _run(logs / "a" / "version_1" / "inside", "running")
    (logs / "a" / "version_0" / "gone").symlink_to("nowhere")
    listed = {str(run.folder.relative_to(logs)) for run in list_runs(logs)}
    assert "thesis" not in listed and "a/version_1/inside" in listed
    states = ["failed", "lost", "unknown", "finished"]
    assert script("runs.py", str(logs), "--state", *states, "--remove", "--yes").returncode == 0
    assert (logs / "thesis" / "config.yaml").is_file() and (logs / "a" / "version_1" / "inside").is_dir()
    assert not (logs / "a" / "version_0").exists()


def test_each_run_has_its_state_and_its_first_score(logs: Path) -> None:
    found = {str(run.folder.relative_to(logs)): (run.state, run.score) for run in list_runs(logs)}
    assert found == {
        "a/version_0": ("finished", ("test/accuracy", 0.9)),
        "a/version_1": ("failed", None),
        "b/version_0": ("running", None),
        "b/version_1": ("lost", None),  # its process has ended without a word
        "b/version_2": ("running", None),  # nobody here can know
        "c/version_0": ("finished", ("test/pair_accuracy", 0.7)),
        "d/version_0": ("unknown", None),
    }


def _json(script: Script, *arguments: str) -> dict[str, Any]:
    done = script("runs.py", "logs", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_runs_are_listed_by_state_and_age(script: Script, logs: Path) -> None:
    assert len(_json(script)["runs"]) == 7
    assert [Path(run["run"]).name for run in _json(script, "--state", "failed", "lost")["runs"]] == ["version_1", "version_1"]
    assert len(_json(script, "--older_than", "30")["runs"]) == 5
    done = script("runs.py", "logs")
    assert "failed: " in done.stdout
    assert _json(script, "--state", "failed")["runs"][0]["reason"] == "ValueError: no"


def test_a_list_that_goes_to_another_program_breaks_no_name(script: Script, logs: Path) -> None:
    name = "a_name_so_long_that_a_terminal_of_eighty_characters_would_break_it_somewhere"
    _run(logs / name / "version_0", "finished", accuracy=0.9)
    line = next(line for line in script("runs.py", "logs").stdout.splitlines() if name in line)
    assert line.split()[:2] == [f"{name}/version_0", "finished"]


def test_nothing_is_removed_but_what_is_named_and_said_yes_to(script: Script, logs: Path) -> None:
    every = {run.folder for run in list_runs(logs)}
    done = script("runs.py", "logs", "--state", "failed", "lost", "running", "--remove")
    assert "2 runs, 0.0 MB, would be removed: add --yes" in done.stdout
    assert {run.folder for run in list_runs(logs)} == every
    assert _json(script, "--state", "failed", "lost", "running", "--remove", "--yes")["removed"]
    assert every - {run.folder for run in list_runs(logs)} == {logs / "a" / "version_1", logs / "b" / "version_1"}
    assert _json(script, "--state", "finished", "--older_than", "30", "--remove", "--yes")["removed"]
    assert not (logs / "a").exists()
    assert (logs / "c" / "version_0").is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["logs", "--remove"], "--remove needs --state"),
        (["logs", "--yes"], "--yes is for --remove"),
        (["logs", "--older_than", "-1"], "must be a number of days, not '-1'"),
        (["logs", "--state", "broken"], "invalid choice: 'broken'"),
    ],
)
def test_a_mistake_is_said_in_one_line(arguments: list[str], said: str, script: Script, logs: Path) -> None:
    done = script("runs.py", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
