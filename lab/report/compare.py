"""What several runs have in common, and in what they differ."""

import json
import math
import statistics
from dataclasses import dataclass

from lab.configuration import dotted_keys
from lab.report.run import Run
from lab.report.words import meaning

# Settings that say where a run is kept, not what it is.
PLACES = ("name", "trainer.default_root_dir")
SEED = "seed_everything"
# Settings that decide which images are tested, and what is asked of them.
TEST_IMAGES = (
    *(
        f"data.{name}"
        for name in ("noise", "num_test_images", "num_train_images", "num_classes_made", "stored_shape", "trials")
    ),
    *(f"model.evaluation.{name}" for name in ("num_pairs", "num_ways", "num_shots", "num_tasks")),
    "trainer.limit_test_batches",
    "data",
    "data.classes",
    "data.folder",
    "data.path",
    "data.test_size",
    "data.rotations",
    "data.bundled",
)
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
           2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, one of each seed.

    Args:
        label: what they are called together.
        runs: the runs by their labels.
        left_out: labels of runs whose seed another run of the group has: they tell nothing new.
    """

    label: str
    runs: dict[str, Run]
    left_out: list[str]

    def score(self, name: str) -> tuple[float, float, float]:
        """Return a score with its 95 % interval, over seeds, or of a single run over test images; NaN where unknown."""
        values = [run.scores.get(name, math.nan) for run in self.runs.values()]
        if len(values) == 1:
            (run,) = self.runs.values()
            return (values[0], *run.intervals.get(name, (math.nan, math.nan)))
        return t_interval(values)


def t_interval(values: list[float]) -> tuple[float, float, float]:
    """Return the mean of values and its 95 % t-interval; NaN where a value is not defined, or there is but one."""
    mean = statistics.fmean(values)
    if len(values) < 2 or math.isnan(mean):
        return mean, math.nan, math.nan
    half = _student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _student(freedom: int) -> float:
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    return 1.95996 + 2.3722 / freedom + 2.8225 / freedom**2  # Cornish and Fisher's expansion


def labels_of(runs: list[Run]) -> dict[str, Run]:
    """Name each run by as many of the last parts of its path as tell all of them apart, two at least."""
    parts = [run.folder.resolve().parts for run in runs]
    depth = 2
    while len({path[-depth:] for path in parts}) < len(parts):
        depth += 1
    return {"/".join(path[-depth:]): run for path, run in zip(parts, runs, strict=True)}


def groups_of(runs: dict[str, Run]) -> list[Group]:
    """Group runs that differ in their seed alone, in the order of the first of each."""
    alike: dict[str, dict[str, Run]] = {}
    for label, run in runs.items():
        settings = {key: value for key, value in settings_of(run).items() if key not in (*PLACES, SEED)}
        # Without its settings or its scores, a run can be said to be like no other.
        key = json.dumps([settings, run.is_test_only]) if settings and run.scores else label
        alike.setdefault(key, {})[label] = run
    groups: list[Group] = []
    for members in alike.values():
        seeds: dict[str, str] = {}
        for label, run in members.items():
            seeds.setdefault(str(run.seed), label)
        kept = {label: members[label] for label in seeds.values()}
        taken = {group.label for group in groups}
        groups.append(Group(_together(list(kept), taken), kept, [label for label in members if label not in kept]))
    return groups


def _together(labels: list[str], taken: set[str]) -> str:
    """Name runs together by the folder that they share, where no others are called so."""
    if len(labels) == 1:
        return labels[0]
    folders = {label.rpartition("/")[0] for label in labels}
    label = f"{folders.pop()} ({len(labels)} seeds)"
    return label if not folders and label not in taken else f"{labels[0]} and {len(labels) - 1} more"


def settings_of(run: Run) -> dict[str, str]:
    """Return the configuration by dotted keys, as they are given on the command line."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        for key, value in dotted_keys(run.config).items()
    }


def differing_settings(runs: dict[str, Run]) -> dict[str, list[str]]:
    """Return the settings in which runs differ, by dotted key, of each run its value; empty where it has no such setting."""
    settings = [settings_of(run) for run in runs.values()]
    keys = dict.fromkeys(key for one in settings for key in one if key not in PLACES)
    table = {key: [one.get(key, "") for one in settings] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1}


def best_of(groups: list[Group], name: str) -> list[bool]:
    """Return which groups have the best score of all; none where there is nothing to compare."""
    values = [group.score(name)[0] for group in groups]
    known = [value for value in values if not math.isnan(value)]
    better = meaning(name).better
    if len(known) < 2 or not better or len(set(known)) == 1:
        return [False] * len(values)
    return [value == (max if better == "higher" else min)(known) for value in values]


def doubts(runs: dict[str, Run]) -> list[str]:
    """Say what makes a comparison of these runs less than fair."""
    said = []
    if not same_test_images(runs):
        said.append("These runs were tested on different images, or asked differently, so no score is marked as the best.")
    made_with = {"commit": "commits of the code", "versions": "versions of libraries", "threads": "numbers of threads"}
    for key, words in made_with.items():
        if len({json.dumps(run.record.get(key), sort_keys=True) for run in runs.values() if run.record}) > 1:
            said.append(f"The runs were made with different {words}.")
    changed = [label for label, run in runs.items() if run.record.get("uncommitted_changes")]
    if changed:
        said.append(f"Made with uncommitted changes in the code: {', '.join(changed)}.")
    without = [label for label, run in runs.items() if not run.scores]
    if without:
        said.append(f"Without test scores: {', '.join(without)}.")
    return said


def same_test_images(runs: dict[str, Run]) -> bool:
    """Whether all runs were tested on images of the same data set and classes, and asked the same of them."""
    settings = [settings_of(run) for run in runs.values() if run.scores]
    return len({tuple(one.get(key) for key in TEST_IMAGES) for one in settings}) <= 1
