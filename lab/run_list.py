"""The runs there are: what has become of each, its score, its age; and their removal, where that is asked for."""

import datetime
import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATES = ("running", "finished", "interrupted", "failed", "lost", "unknown")
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
    folders = [path.parent for path in logs.rglob("config.yaml")]
    return sorted((_read(folder) for folder in folders), key=lambda run: run.since)


def _read(folder: Path) -> ListedRun:
    noted, record = _json(folder / "state.json"), _json(folder / "metrics.json")
    state = noted.get("state") if noted.get("state") in STATES else "finished" if record else "unknown"
    if state == "running" and not _is_alive(noted):
        state = "lost"
    newest = datetime.datetime.fromtimestamp(max(path.stat().st_mtime for path in folder.glob("*"))).astimezone()
    try:
        since = datetime.datetime.fromisoformat(str(noted.get("since")))
    except ValueError:
        since = newest
    score = next(((name, float(record[name])) for name in HEADLINES if isinstance(record.get(name), int | float)), None)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    reason = noted.get("reason")
    return ListedRun(folder, str(state), None if reason is None else str(reason), since, score, size)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_alive(noted: dict[str, Any]) -> bool:
    """Return whether the process of a run is there still; of another machine's, that is believed."""
    if noted.get("machine") != platform.node() or not isinstance(noted.get("process"), int):
        return True
    try:
        os.kill(noted["process"], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def chosen(runs: Sequence[ListedRun], states: Sequence[str], days: float) -> list[ListedRun]:
    """Return the runs in one of some states that have been so for some days; none that runs."""
    before = datetime.datetime.now().astimezone() - datetime.timedelta(days=days)
    return [run for run in runs if run.state in states and run.state != "running" and run.since <= before]


def remove(runs: Sequence[ListedRun]) -> None:
    """Remove the folders of runs, and those above them that this leaves empty."""
    for run in runs:
        shutil.rmtree(run.folder)
        if not any(run.folder.parent.iterdir()):
            run.folder.parent.rmdir()
