"""The table of all that has been measured, written as Markdown, as JSON and as a page."""

import shlex
import sys
from dataclasses import dataclass, field
from typing import Any

from lab.reproduce.experiment import Experiment
from lab.reproduce.markdown import markdown
from lab.reproduce.measured import Elsewhere
from lab.reproduce.page import page_of
from lab.reproduce.questions import answer
from lab.reproduce.results import Result, measure, record_of
from lab.reproduce.runner import Runner
from lab.runs import write_json
from lab.writing import whole_file


@dataclass(frozen=True)
class Table:
    """Writes the table.

    Args:
        runner: knows the runs.
        chosen: the experiments that have a row in any case; what was run before by another command, or elsewhere, has one too.
        elsewhere: what was measured elsewhere.
        alone: whether these are all rows.
        failures: by experiment and seed, why there is no run.
    """

    runner: Runner
    chosen: list[Experiment]
    elsewhere: Elsewhere = field(default_factory=dict)
    alone: bool = False
    failures: dict[tuple[str, int], str] = field(default_factory=dict)

    def write(self, page: bool = False) -> None:
        """Write the table, and the page too, if asked for, which takes its time."""
        catalog, folder = self.runner.catalog, self.runner.folder
        results = {experiment.name: self._measure(experiment) for experiment in self._rows()}
        answers = [found for question in catalog.questions if (found := answer(question, results)) is not None]
        command = f"python scripts/reproduce.py {shlex.join(sys.argv[1:])}".strip()
        facts: dict[str, Any] = {"command": command, "fast": self.runner.fast}
        digests = {name: catalog.digest(result.experiment) for name, result in results.items()}
        record = record_of(results, answers, facts, digests)
        write_json(folder / "results.json", record)
        texts = {"README.md": markdown(record)}
        if page:
            texts["index.html"] = page_of(record, results)
        for name, text in texts.items():
            with whole_file(folder / name) as unfinished:
                unfinished.write_text(text, encoding="utf-8", errors="replace")

    def _rows(self) -> list[Experiment]:
        known = self.runner.catalog.experiments.values()
        if self.alone:
            return self.chosen
        return [one for one in known if one in self.chosen or one.name in self.elsewhere or self.runner.seeds(one)]

    def _measure(self, experiment: Experiment) -> Result:
        runner, name = self.runner, experiment.name
        newest = {seed: runner.finished(name, seed) for seed in runner.seeds(experiment)}
        runs = {seed: run for seed, run in newest.items() if run is not None}
        return measure(
            experiment,
            runs,
            {seed: reason for (of, seed), reason in self.failures.items() if of == name},
            runner.fast,
            runner.catalog.asked(experiment),
            shlex.join(runner.more),
            self.elsewhere.get(name),
            runner.shared(experiment),
        )
