"""An experiment: what it runs, what was reported of it, and what it must reach."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from lab.runs import PROJECT

CONFIGS = PROJECT / "configs" / "experiments"
PLACE = re.compile(r"\{(\w+)\}")  # {d1}: the folder of the run of d1 with the same seed
OWN_PLACES = ("shared", "run", "root")  # the folders of what all seeds share, of an experiment's own run, and of the data


@dataclass(frozen=True)
class Command:
    """A command beside training, the file that shows that it was done, unless it knows that itself, and a shorter one."""

    command: str
    makes: str | None = None
    fast: str | None = None


@dataclass(frozen=True)
class Bar:
    """What must be reached: a number, or more than other experiments did.

    Args:
        least: the score in the unit of the table; and_score, and_least: another score and what that must be.
        ahead_of: an experiment whose score must be exceeded.
        within: by how many points an experiment, ``of``, may be ahead.
        halfway: two experiments, between whose scores this one must be past the middle.
    """

    least: float | None = None
    and_score: str | None = None
    and_least: float = 0.0
    ahead_of: str | None = None
    within: float | None = None
    of: str | None = None
    halfway: list[str] = field(default_factory=list)

    @property
    def others(self) -> list[str]:
        """The experiments that it is set by."""
        return [name for name in (self.ahead_of, self.of, *self.halfway) if name is not None]


@dataclass(frozen=True)
class Experiment:
    """One row of the table.

    Args:
        name: such as ``d6_30``; what stands before the first ``_`` is the experiment it belongs to.
        about: what it is, in a few words.
        config: file in ``configs/experiments``, without ending, or a path with places.
        options: by key, what the command line adds to the config.
        score: of the test, or a curve's name, whose last value counts, or in a JSON file of the run, ``file.json:key.key``.
        also: further scores to tell.
        reported: what others have reported, in words.
        bar: what must be reached; None for nothing.
        notes: what was wrong in the original, or differs here.
        before, after: commands before and after training.
        pictures: of the run, as the original showed them, by name, or a path with places.
        fast: options of a run on small data, beside those for all of its data set; fast_score: the score there, if another.
    """

    name: str
    about: str
    config: str
    score: str
    also: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    reported: str = ""
    bar: Bar | None = None
    notes: str = ""
    before: list[Command] = field(default_factory=list)
    after: list[Command] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    fast: dict[str, Any] = field(default_factory=dict)
    fast_score: str | None = None

    @property
    def needs(self) -> list[str]:
        """The experiments whose runs this one starts from."""
        texts = [*map(str, self.options.values()), *(step.command for step in (*self.before, *self.after))]
        return list(dict.fromkeys(name for text in texts for name in PLACE.findall(text) if name not in OWN_PLACES))

    @property
    def scores(self) -> list[str]:
        """The names of all scores that it tells, or is judged by."""
        more = [self.bar.and_score] if self.bar is not None and self.bar.and_score is not None else []
        return list(dict.fromkeys([self.score, *self.also, *more]))

    @property
    def config_file(self) -> Path:
        """The config that is shipped."""
        return CONFIGS / f"{self.name.split('_')[0] if '{' in self.config else self.config}.yaml"

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the config says of the data."""
        found: dict[str, Any] = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))["data"]
        return found

    def command(self) -> str:
        """Return what a user types to run it, but for where the data are."""
        config = self.config if "{" in self.config else self.config_file.relative_to(PROJECT).as_posix()
        first = [f"python scripts/{step.command} && " for step in self.before]
        # A place is shown as such, without the quotes that a shell would need for it.
        options = " ".join(w if re.fullmatch(r"[\w./{}:+-]+", w) else shlex.quote(w) for w in arguments(self.options))
        words = ["python scripts/fit.py --config", config, *([options] if options else [])]
        return "".join(first) + " ".join([*words, *(f"&& python scripts/{step.command}" for step in self.after)])


@dataclass(frozen=True)
class Question:
    """What is asked of two experiments.

    Args:
        ask: the question, whose answer is yes if the first one is better.
        compare: the two experiments.
        score: what is compared: a score, or ``val/accuracy>=0.9``, after how many epochs a curve first reached a value.
        curve: what is drawn; empty for nothing, as where a question before shows it.
    """

    ask: str
    compare: tuple[str, str]
    score: str
    curve: str = ""


def arguments(options: dict[str, Any]) -> Iterator[str]:
    """Yield options as words of a command line."""
    for key, value in options.items():
        yield f"--{key}"
        yield value if isinstance(value, str) else json.dumps(value)
