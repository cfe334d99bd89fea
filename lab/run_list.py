"""The runs there are: what has become of each, its score, its age; and their removal, where that is asked for."""

import datetime
import json
import os
import platform
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATES = ("running", "finished", "interrupted", "failed", "lost", "unknown")
MARKS = ("state.json", "metrics.json", "metrics.csv", "checkpoints")  # what a run has beside its config
HEADLINES = ("test/accuracy", "test/nearest_neighbor_accuracy", "test/pair_accuracy", "test/auc")  # the first that a run has


@dataclass(frozen=True)
class ListedRun:
    """A run.

    Args:
        folder: where it is.
        state: one of ``STATES``; ``lost`` where its process is no more and did not say why, ``unknown`` where nothing is noted.
        reason: of an interruption or a failure.
        since: when it came into this state.
        score: its name and value, where there is one.
        num_bytes: what it takes on the disk.
    """

    folder: Path
    state: str
    reason: str | None
    since: datetime.datetime
    score: tuple[str, float] | None
    num_bytes: int

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        name, value = self.score or (None, None)
        times = {"since": self.since.isoformat(timespec="seconds")}
        return {"run": str(self.folder), "state": self.state, "reason": self.reason, **times, "score": name, "value": value,
                "bytes": self.num_bytes}  # fmt: skip


def list_runs(logs: Path) -> list[ListedRun]:
    """Return the runs in a folder of runs and below, the newest last.

    Raises:
        ValueError: if there is no such folder.
    """
    if not logs.is_dir():
        raise ValueError(f"{logs} {'is not a folder' if logs.exists() else 'does not exist'}")
    folders = [path.parent for path in logs.rglob("config.yaml") if any((path.parent / mark).exists() for mark in MARKS)]
    return sorted((_read(folder) for folder in folders), key=lambda run: run.since)


def _read(folder: Path) -> ListedRun:
    noted, record = read_record(folder / "state.json"), read_record(folder / "metrics.json")
    state = noted.get("state") if noted.get("state") in STATES else "finished" if record else "unknown"
    if state == "running" and not is_alive(noted):
        state = "lost"
    files = [found for path in (folder, *folder.rglob("*")) if (found := _stat(path)) is not None]
    newest = datetime.datetime.fromtimestamp(max((found.st_mtime for found in files), default=0.0)).astimezone()
    try:
        since = datetime.datetime.fromisoformat(str(noted.get("since"))).astimezone()
    except ValueError:
        since = newest
    score = next(((name, float(record[name])) for name in HEADLINES if isinstance(record.get(name), int | float)), None)
    size = sum(found.st_size for found in files if stat.S_ISREG(found.st_mode))
    reason = noted.get("reason")
    return ListedRun(folder, str(state), None if reason is None else str(reason), since, score, size)


def _stat(path: Path) -> os.stat_result | None:
    """Look at a file, if it has not gone meanwhile: a run that is writing has some for a moment only."""
    try:
        return path.lstat()
    except OSError:
        return None


def read_record(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds by name; nothing, where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_alive(noted: dict[str, Any]) -> bool:
    """Return whether the process of a run is there still; of another machine's, that is believed."""
    if noted.get("machine") != platform.node() or not isinstance(noted.get("process"), int):
        return True
    try:
        os.kill(noted["process"], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _has_only_a_number_left(noted["process"])


def _has_only_a_number_left(process: int) -> bool:
    """Return whether a process has ended, and waits for another to ask how, which in a container may be never."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def chosen(runs: Sequence[ListedRun], states: Sequence[str], days: float) -> list[ListedRun]:
    """Return the runs in one of some states that have been so for some days; none that runs, or holds another."""
    before = datetime.datetime.now().astimezone() - datetime.timedelta(days=days)
    above = {folder for run in runs for folder in run.folder.parents}
    found = [run for run in runs if run.state in states and run.state != "running" and run.since <= before]
    return [run for run in found if run.folder not in above]


def remove(runs: Sequence[ListedRun]) -> None:
    """Remove the folders of runs, and those above them that this leaves empty."""
    for run in runs:
        shutil.rmtree(run.folder)
        if not any(run.folder.parent.iterdir()):
            run.folder.parent.rmdir()
