"""What the runs of an experiment have measured, and whether that reaches its bar."""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.report.compare import t_interval
from lab.report.run import Run, read_run
from lab.reproduce.catalog import Bar, Experiment
from lab.run_list import read_record

LEAST_SEEDS = 3  # fewer are said


@dataclass(frozen=True)
class Result:
    """A row of the table, measured.

    Args:
        experiment: what was run.
        runs: of each seed, the folder that is left.
        values: of each seed, the score in the unit of the table.
        failures: of each seed that has none, why.
        options: with which runs were made, in addition to the experiment's own.
        shared: the folder of what all seeds share.
    """

    experiment: Experiment
    runs: dict[int, Run]
    values: dict[int, float]
    failures: dict[int, str]
    options: list[str]
    shared: Path | None = None

    @property
    def interval(self) -> tuple[float, float, float]:
        """The mean over seeds and its 95 % t-interval; NaN where there is none."""
        return t_interval(list(self.values.values())) if self.values else (math.nan, math.nan, math.nan)

    @property
    def also(self) -> dict[str, tuple[float, float, float]]:
        """The further scores, each as ``interval`` is; of those that all runs have."""
        values = {name: [score_of(run, name) for run in self.runs.values()] for name in self.experiment.also}
        return {name: t_interval(found) for name, found in values.items() if found and not any(map(math.isnan, found))}

    @property
    def seconds(self) -> list[float]:
        """How long each training took."""
        return [run.seconds["fit"] for run in self.runs.values() if "fit" in run.seconds]

    @property
    def places(self) -> list[str]:
        """Where it was run, and by which commit, each once."""
        records = [run.record for run in self.runs.values()]
        return list(dict.fromkeys(f"{_device(record)}, {_commit(record)}" for record in records))


def measure(
    experiment: Experiment,
    runs: dict[int, Path],
    failures: dict[int, str],
    fast: bool,
    options: Sequence[str] = (),
    shared: Path | None = None,
) -> Result:
    """Read what the runs of an experiment have left, ``fast`` ones or not."""
    found = {seed: read_run(folder) for seed, folder in sorted(runs.items())}
    score = (fast and experiment.fast_score) or experiment.score
    values = {seed: score_of(run, score) for seed, run in found.items()}
    missing = {seed: f"there is no {score}" for seed, value in values.items() if math.isnan(value)}
    known = {seed: value for seed, value in values.items() if seed not in missing}
    return Result(experiment, found, known, {**failures, **missing}, list(options), shared)


def score_of(run: Run, name: str) -> float:
    """Return a score of a run in the unit of the table: per cent, but for losses; NaN where it has none."""
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


def needed(bar: Bar, results: dict[str, Result], seeds: Collection[int]) -> tuple[float, str]:
    """Return what a bar asks for of these seeds, as a number and in words; NaN where that is not known."""
    if bar.least is not None:
        return bar.least, f"{bar.least:g}" + (f" and {bar.and_score} {bar.and_least:g}" if bar.and_score else "")
    means = {name: _mean(results.get(name), seeds) for name in bar.others}
    if bar.ahead_of is not None:
        return means[bar.ahead_of], f"more than {bar.ahead_of}"
    if bar.of is not None:
        return means[bar.of] - (bar.within or 0.0), f"{bar.of} less {bar.within:g}"
    low, high = bar.halfway
    return (means[low] + means[high]) / 2, f"halfway from {low} to {high}"


def verdict(result: Result, results: dict[str, Result]) -> str:
    """Say whether the mean reaches the bar: ``reached``, ``missed``, or nothing where there is none to tell by.

    Means are compared over the same seeds, and of one or two seeds it is said so.
    """
    bar = result.experiment.bar
    if bar is None or not result.values:
        return ""
    seeds = set(result.values).intersection(*(results[name].values for name in bar.others if name in results))
    least, mean = needed(bar, results, seeds)[0], round(_mean(result, seeds), 6)
    if math.isnan(least) or math.isnan(mean):
        return ""
    reached = mean > least if bar.ahead_of else mean >= least
    if bar.and_score is not None:
        reached &= statistics.fmean(score_of(result.runs[seed], bar.and_score) for seed in seeds) >= bar.and_least
    few = f" with seed {' and '.join(map(str, sorted(seeds)))} alone" if len(seeds) < LEAST_SEEDS else ""
    return f"{'reached' if reached else 'missed'}{few}"


def _mean(result: Result | None, seeds: Collection[int]) -> float:
    values = [] if result is None else [result.values.get(seed, math.nan) for seed in seeds]
    return statistics.fmean(values) if values else math.nan


def record_of(results: dict[str, Result], answers: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the table in plain Python."""
    rows = []
    for result in results.values():
        experiment = result.experiment
        mean, low, high = result.interval
        bar = None if experiment.bar is None else needed(experiment.bar, results, result.values)
        rows.append(
            {
                "name": experiment.name,
                "about": experiment.about,
                "command": " ".join([experiment.command(), *result.options]),
                "score": experiment.score,
                "reported": experiment.reported,
                "mean": mean,
                "interval": [low, high],
                "also": {name: list(values) for name, values in result.also.items()},
                "values": {str(seed): value for seed, value in result.values.items()},
                "bar": None if bar is None else {"words": bar[1], "least": bar[0]},
                "verdict": "" if facts["fast"] else verdict(result, results),
                "seconds": result.seconds,
                "places": result.places,
                "collapses": {
                    str(seed): run.record["collapsed_at_steps"]
                    for seed, run in result.runs.items()
                    if run.record.get("collapsed_at_steps")
                },
                "runs": {str(seed): str(run.folder) for seed, run in result.runs.items()},
                "failures": {str(seed): reason for seed, reason in result.failures.items()},
                "notes": experiment.notes,
            }
        )
    return {**facts, "experiments": rows, "questions": answers}


def _device(record: dict[str, Any]) -> str:
    return f"{record.get('device', 'a device that is not noted')}"


def _commit(record: dict[str, Any]) -> str:
    commit = record.get("commit")
    changed = " with changes" if record.get("uncommitted_changes") else ""
    return f"commit {str(commit)[:7]}{changed}" if commit else "no commit noted"
