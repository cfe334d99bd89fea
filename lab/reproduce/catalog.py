"""The experiments there are."""

import difflib
import fnmatch
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lab.reproduce.experiment import Bar, Command, Experiment, Question
from lab.runs import PROJECT

CATALOG = Path(__file__).parent / "experiments.yaml"
DEFAULTS = PROJECT / "configs" / "default.yaml"


@dataclass(frozen=True)
class Catalog:
    """All experiments, in the order in which they can be run, and what is asked of them."""

    experiments: dict[str, Experiment]
    questions: list[Question]
    fast: dict[str, dict[str, Any]]  # options by data set
    elsewhere: dict[str, str]  # where experiments are that have no row
    heads: dict[str, str] = field(default_factory=dict)  # the row in the head of a config, where none has its name

    def choose(self, names: Sequence[str]) -> list[Experiment]:
        """Return the experiments asked for, and those that they start from or are compared with; all, where none is named.

        Args:
            names: of experiments, patterns such as ``b3*``, or, where none has that name, what stands before the ``_`` in some:
                ``d6`` for ``d6_10``, ``d6_30`` and ``d6_50``.

        Raises:
            ValueError: if there is none of a name, naming the nearest.
        """
        groups = {name.split("_")[0] for name in self.experiments}
        names = [name.lower() for name in names]
        for name in names:
            if name in self.elsewhere:
                raise ValueError(f"{name}: {self.elsewhere[name]}")
            if not self._named(name):
                near = difflib.get_close_matches(name, [*self.experiments, *groups], n=1, cutoff=0.0)
                raise ValueError(f"there is no experiment {name!r}; did you mean {near[0]!r}? --list names all")
        chosen = {found for name in names for found in self._named(name)} if names else set(self.experiments)
        for name in [name for name in self.experiments if name in chosen]:
            bar = self.experiments[name].bar
            chosen |= set(bar.others) if bar is not None else set()
        for name in reversed(self.experiments):  # what is needed stands before
            if name in chosen:
                chosen |= set(self.experiments[name].needs)
        return [experiment for name, experiment in self.experiments.items() if name in chosen]

    def _named(self, text: str) -> list[str]:
        if text in self.experiments:
            return [text]
        return [name for name in self.experiments if name.split("_")[0] == text] or fnmatch.filter(self.experiments, text)

    def asked(self, experiment: Experiment) -> list[str]:
        """Return the scores that questions ask of an experiment."""
        return [question.score for question in self.questions if experiment.name in question.compare]

    def digest(self, experiment: Experiment) -> str:
        """Return a text that changes with what an experiment runs, and with what those run that it needs."""
        asked = [experiment.command(), *(step.command for step in (*experiment.before, *experiment.after))]
        needed = [self.digest(self.experiments[name]) for name in experiment.needs]
        named = [PROJECT / word for step in experiment.before for word in step.command.split() if word.endswith(".yaml")]
        paths = [path for path in dict.fromkeys([DEFAULTS, experiment.config_file, *named]) if path.is_file()]
        files = [_parsed(path.read_text(encoding="utf-8")) for path in paths]  # without comments, such as figures
        content = json.dumps([asked, *files, needed])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@cache
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def read_catalog(path: Path = CATALOG) -> Catalog:
    """Read the experiments there are."""
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    experiments = {entry["name"]: _experiment(entry) for entry in stored["experiments"]}
    questions = [Question(**{**entry, "compare": tuple(entry["compare"])}) for entry in stored["questions"]]
    return Catalog(experiments, questions, stored["fast"], stored.get("elsewhere", {}), stored.get("heads", {}))


def _experiment(entry: dict[str, Any]) -> Experiment:
    bar = entry.get("bar")
    steps = {key: [Command(**step) for step in entry.get(key, ())] for key in ("before", "after")}
    own = {"config": entry["name"], **entry, **steps, "reported": str(entry.get("reported", ""))}
    return Experiment(**{**own, "bar": Bar(**bar) if isinstance(bar, dict) else None if bar is None else Bar(least=bar)})
