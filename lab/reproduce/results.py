"""What the runs of an experiment have measured, and whether that reaches its bar."""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.report.compare import t_interval
from lab.report.run import Run, read_run
from lab.reproduce.experiment import Bar, Experiment
from lab.reproduce.measured import Measured

LEAST_SEEDS = 3  # fewer are said


@dataclass(frozen=True)
class Result:
    """A row of the table, measured.

    Args:
        experiment: what was run.
        score: the name of the score that counts.
        measured: of each seed that has this score, what its run has measured.
        failures: of each seed that has none, why.
        runs: of each seed that was run here, what its folder holds.
        shared: the folder of what all seeds share.
    """

    experiment: Experiment
    score: str
    measured: dict[int, Measured]
    failures: dict[int, str]
    runs: dict[int, Run]
    shared: Path | None = None

    @property
    def values(self) -> dict[int, float]:
        """The score by seed, in the unit of the table."""
        return self.by_seed(self.score)

    @property
    def interval(self) -> tuple[float, float, float]:
        """The mean over seeds and its 95 % t-interval; NaN where there is none."""
        return t_interval(list(self.values.values())) if self.values else (math.nan, math.nan, math.nan)

    @property
    def also(self) -> dict[str, tuple[float, float, float]]:
        """The further scores, each as ``interval`` is; of those that all seeds have."""
        values = {name: list(self.by_seed(name).values()) for name in self.experiment.also}
        return {name: t_interval(found) for name, found in values.items() if found and len(found) == len(self.measured)}

    def by_seed(self, name: str) -> dict[int, float]:
        """Return a score of the seeds that have it."""
        return {seed: one.scores[name] for seed, one in self.measured.items() if name in one.scores}


def measure(
    experiment: Experiment,
    runs: dict[int, Path],
    failures: dict[int, str],
    fast: bool,
    asked: Sequence[str] = (),
    options: str = "",
    elsewhere: dict[int, Measured] | None = None,
    shared: Path | None = None,
) -> Result:
    """Read what the runs of an experiment have left.

    Args:
        experiment: what was run.
        runs: the folder of each seed that was run here.
        failures: of each seed that has none, why.
        fast: whether runs are short.
        asked: scores to read, beside those that the experiment tells.
        options: with which they were run, in addition to the experiment's own.
        elsewhere: what was measured elsewhere, where there is no run here.
        shared: the folder of what all seeds share.
    """
    score = (fast and experiment.fast_score) or experiment.score
    names = list(dict.fromkeys([score, *experiment.scores, *asked]))
    read = {seed: read_run(folder) for seed, folder in sorted(runs.items())}
    found = {seed: Measured.of_run(run, names, options) for seed, run in read.items()}
    missing = {seed: f"there is no {score}" for seed, one in found.items() if score not in one.scores}
    measured = {seed: one for seed, one in {**(elsewhere or {}), **found}.items() if score in one.scores}
    failed = {seed: why for seed, why in {**failures, **missing}.items() if seed not in measured}
    return Result(experiment, score, dict(sorted(measured.items())), failed, read, shared)


def needed(bar: Bar, results: dict[str, Result], seeds: Collection[int]) -> tuple[float, str]:
    """Return what a bar asks for of these seeds, as a number and in words; NaN where that is not known."""
    if bar.least is not None:
        return bar.least, f"{bar.least:g}" + (f" and {bar.and_score} {bar.and_least:g}" if bar.and_score else "")
    means = {name: _mean(results[name].values if name in results else {}, seeds) for name in bar.others}
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
    asked = [(_mean(result.values, seeds), needed(bar, results, seeds)[0])]
    if bar.and_score is not None:
        asked.append((_mean(result.by_seed(bar.and_score), seeds), bar.and_least))
    if any(math.isnan(number) for pair in asked for number in pair):
        return ""
    (mean, least), *_ = rounded = [(round(mean, 6), round(least, 6)) for mean, least in asked]  # a mean of equals is not exact
    reached = mean > least if bar.ahead_of else all(mean >= least for mean, least in rounded)
    few = f" with seed {' and '.join(map(str, sorted(seeds)))} alone" if len(seeds) < LEAST_SEEDS else ""
    return f"{'reached' if reached else 'missed'}{few}"


def _mean(values: dict[int, float], seeds: Collection[int]) -> float:
    return statistics.fmean(values.get(seed, math.nan) for seed in seeds) if seeds else math.nan


def record_of(
    results: dict[str, Result], answers: list[dict[str, Any]], facts: dict[str, Any], digests: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the table in plain Python, with a text for each experiment that changes with what it runs."""
    rows = []
    for result in results.values():
        experiment = result.experiment
        mean, low, high = result.interval
        bar = None if experiment.bar is None else needed(experiment.bar, results, result.values)
        rows.append(
            {
                "name": experiment.name,
                "digest": (digests or {}).get(experiment.name, ""),
                "about": experiment.about,
                "command": " ".join([experiment.command(), *sorted({one.options for one in result.measured.values()} - {""})]),
                "score": experiment.score,
                "reported": experiment.reported,
                "mean": mean,
                "interval": [low, high],
                "also": {name: list(values) for name, values in result.also.items()},
                "values": {str(seed): value for seed, value in result.values.items()},
                "seeds": {str(seed): one.record() for seed, one in result.measured.items()},
                "bar": None if bar is None else {"words": bar[1], "least": bar[0]},
                "verdict": "" if facts["fast"] else verdict(result, results),
                "failures": {str(seed): reason for seed, reason in result.failures.items()},
                "notes": experiment.notes,
            }
        )
    return {**facts, "experiments": rows, "questions": answers}
