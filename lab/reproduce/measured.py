"""What one run of an experiment has measured, here or elsewhere."""

import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.report.run import Run
from lab.reproduce.catalog import Catalog
from lab.run_list import read_record

Elsewhere = dict[str, dict[int, "Measured"]]  # by experiment and seed
REACHES = ">="  # "val/accuracy>=0.985": after how many epochs the curve first did


@dataclass(frozen=True)
class Measured:
    """All that the table needs of a run.

    Args:
        scores: by name, in the unit of the table; a score that the run has not is not there.
        seconds: how long training took; None where that is not known.
        device: that it was run on.
        commit: by which it was run, and whether there were changes beside it.
        options: with which it was run, in addition to the experiment's own.
        collapsed_at_steps: where it collapsed, and began again.
    """

    scores: dict[str, float]
    seconds: float | None = None
    device: str = "a device that is not noted"
    commit: str = "no commit noted"
    options: str = ""
    collapsed_at_steps: list[int] = field(default_factory=list)

    @classmethod
    def of_run(cls, run: Run, names: Iterable[str], options: str = "") -> "Measured":
        """Read the scores of these names, and the rest, from what a run has left."""
        scores = {name: score_of(run, name) for name in names}
        known = {name: value for name, value in scores.items() if not math.isnan(value)}
        collapsed = run.record.get("collapsed_at_steps") or []
        places = {"commit": _commit(run.record)} | ({"device": str(run.record["device"])} if run.record.get("device") else {})
        return cls(known, run.seconds.get("fit"), **places, options=options, collapsed_at_steps=collapsed)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Measured":
        """Return what a record tells of; a record with something else in it raises a ``TypeError``."""
        found = cls(**record)
        numbers = [*found.scores.values(), *found.collapsed_at_steps, found.seconds or 0.0]
        texts = (found.device, found.commit, found.options)
        if not all(isinstance(number, int | float) for number in numbers) or not all(isinstance(text, str) for text in texts):
            raise TypeError(record)
        return found

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        return asdict(self)


def score_of(run: Run, name: str) -> float:
    """Return a score of a run in the unit of the table: per cent, but for losses and epochs; NaN where it has none."""
    curve, reaches, least = name.partition(REACHES)
    if reaches:
        epochs, values = run.history.get(curve, ([], []))
        return next((e for e, value in zip(epochs, values, strict=True) if value >= float(least)), math.nan)
    file, colon, key = name.partition(":")
    if colon:
        value: Any = read_record(run.folder / file)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        number = float(value) if isinstance(value, int | float) else math.nan
    elif name in run.scores:
        number = run.scores[name]
    else:
        number = run.history.get(name, ([], [math.nan]))[1][-1]
    return number if name.endswith("loss") else 100.0 * number


def read_measured(path: Path, catalog: Catalog, options: Sequence[str] = ()) -> tuple[Elsewhere, list[str]]:
    """Read what was measured elsewhere from the ``results.json`` that was written there.

    Args:
        path: of that file.
        catalog: the experiments as they are now.
        options: with which experiments are run here, in addition to their own.

    Returns:
        What was measured, and in words what is left out: by another config or command, or with other options.

    Raises:
        ValueError: if the file is no such table, or one of short runs.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        is_fast = stored["fast"]
        rows = {row["name"]: row for row in stored["experiments"]}
        found = {name: _seeds(row["seeds"]) for name, row in rows.items()}
        digests = {name: row["digest"] for name, row in rows.items()}
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, AttributeError, ValueError):  # which covers text that is not JSON, or not UTF-8
        raise ValueError(f"{path} is not a results.json of reproduce.py") from None
    if is_fast:
        raise ValueError(f"{path} is a table of short runs, which measure nothing")
    own = {name: catalog.digest(experiment) for name, experiment in catalog.experiments.items()}
    changed = [name for name, seeds in found.items() if seeds and own.get(name) != digests[name]]
    left_out = [f"{', '.join(changed)}: measured by another config or command"] if changed else []
    kept: Elsewhere = {}
    for name, seeds in found.items():
        for seed, one in seeds.items() if name not in changed else ():
            if shlex.split(one.options) == [*options]:
                kept.setdefault(name, {})[seed] = one
            else:
                left_out.append(f"{name} seed {seed}: measured with --options {one.options!r}")
    return kept, left_out


def _seeds(stored: dict[str, dict[str, Any]]) -> dict[int, Measured]:
    return {int(seed): Measured.from_record(one) for seed, one in stored.items()}


def _commit(record: dict[str, Any]) -> str:
    commit = record.get("commit")
    changed = " with changes" if record.get("uncommitted_changes") else ""
    return f"commit {str(commit)[:7]}{changed}" if commit else "no commit noted"
