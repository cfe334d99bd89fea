"""What a sweep says of its trials, in lines, in a table and in files."""

import json
import re
import shlex
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lab.arguments import printable
from lab.sweep.settings import Settings
from lab.sweep.space import Parameter
from lab.sweep.storage import shown

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
NUM_SHOWN = 10


def line_of(trial: FrozenTrial, settings: Settings) -> str:
    """Return what is said of a trial when it is over."""
    names, facts = settings.short_names(), trial.user_attrs
    tried = [one for one in settings.space if one.key in trial.params]
    values = "  ".join(f"{names[one.key]} {label(one, trial.params[one.key])}" for one in tried)
    score = "" if facts.get("value") is None else f"  {settings.monitor} {facts['value']:.4f}"
    deviation = "" if std_of(trial) is None else f" +- {std_of(trial):.4f}"
    reason = f"  {facts['reason']}" if "reason" in facts else ""
    return printable(
        f"trial {trial.number}  {STATES[trial.state]}{score}{deviation}  {facts.get('seconds', 0)} s  {values}{reason}"
    )


def std_of(trial: FrozenTrial) -> float | None:
    """Return the standard deviation of a trial's score over its folds; None where there are not two."""
    values = trial.user_attrs.get("values", ())
    return statistics.stdev(values) if len(values) > 1 else None


def ranked(trials: Sequence[FrozenTrial], settings: Settings) -> list[FrozenTrial]:
    """Return the trials that are complete, the best first; of equal ones, the first first."""
    sign = -1 if settings.mode == "max" else 1
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (sign * trial.user_attrs["value"], trial.number))


def table_of(trials: Sequence[FrozenTrial], settings: Settings) -> Table:
    """Return a table of the best trials."""
    best, names = ranked(trials, settings)[:NUM_SHOWN], settings.short_names()
    title = f"the best {len(best)} of {len(trials)} trials" if len(best) > 1 else f"{len(best)} of {len(trials)} trials"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = ["trial", settings.monitor, *(["std"] if settings.num_folds else []), *names.values(), "epochs", "s"]
    for column in columns:
        table.add_column(column, overflow="fold", justify="right")
    for trial in best:
        deviation = [f"{std_of(trial) or 0:.4f}"] if settings.num_folds else []
        values = [label(one, trial.params[one.key]) for one in settings.space]
        facts = trial.user_attrs
        table.add_row(
            str(trial.number), f"{facts['value']:.4f}", *deviation, *values, str(facts["epochs"]), str(facts["seconds"])
        )
    return table


def rows_of(trials: Sequence[FrozenTrial], settings: Settings) -> tuple[list[str], list[list[Any]]]:
    """Return the columns of ``trials.csv`` and its rows."""
    keys = [parameter.key for parameter in settings.space]
    rows = []
    for trial in trials:
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        values = [one.text(given[one.key]) if one.key in given else None for one in settings.space]
        facts = [trial.user_attrs.get(name) for name in ("epochs", "seconds", "reason")]
        rows.append([trial.number, STATES[trial.state], *values, trial.user_attrs.get("value"), std_of(trial), *facts])
    return ["number", "state", *keys, "value", "std", "epochs", "seconds", "reason"], rows


def counts_of(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Return how many trials are in each state."""
    return {name: sum(trial.state is state for trial in trials) for state, name in STATES.items()}


def counted(trials: Sequence[FrozenTrial]) -> str:
    """Return in words how many trials are in each state."""
    found = {name: num for name, num in counts_of(trials).items() if num}
    return f"{len(trials)} trials ({', '.join(f'{num} {name}' for name, num in found.items())})"


def command_of_this(settings: Settings, script: str) -> str:
    """Return the command that has started this process, without the password of a database, on one line."""
    arguments = [argument.replace(settings.storage, shown(settings.storage)) for argument in sys.argv[1:]]
    return " ".join(f"{script} {shlex.join(arguments)}".split())


def label(parameter: Parameter, value: Any) -> str:
    """Return a value in few words: a class by its name and its arguments, a number with four digits."""
    short = _in_few_words(parameter.meant(value))
    others = [choice for choice, name in zip(parameter.choices, parameter.named(), strict=True) if name != value]
    return parameter.text(value) if short in map(_in_few_words, others) else short


def _in_few_words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value.rpartition(".")[2] if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*\.[A-Z]\w*", value) else value
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        given = ", ".join(f"{name}={_in_few_words(one)}" for name, one in (value.get("init_args") or {}).items())
        return _in_few_words(value["class_path"]) + f"({given})" * bool(given)
    return json.dumps(value)
