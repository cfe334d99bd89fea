"""What the script does that lists runs."""

import argparse
import datetime
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lab.arguments import Arguments, printable, run_command
from lab.run_list import STATES, ListedRun, chosen, list_runs, remove
from lab.runs import PROJECT
from lab.writing import json_text

ANY_WIDTH = 10_000  # characters of a line that goes to another program, which is not broken


def runs() -> None:
    """List the runs that the command line asks for, or remove them."""
    run_command(_runs)


def _runs() -> None:
    parser = Arguments("List runs with their state, score and age; remove some only where --remove --yes says so.")
    logs = PROJECT / "lightning_logs"
    parser.add_argument("logs", nargs="?", type=Path, default=logs, help="folder of runs (lightning_logs of this clone)")
    parser.add_argument("--state", nargs="+", choices=STATES, help="only those in one of these states")
    parser.add_argument("--older_than", type=_days, default=0.0, metavar="DAYS", help="only those in it for so many days")
    parser.add_argument("--remove", action="store_true", help="name what would be removed; needs --state")
    parser.add_argument("--yes", action="store_true", help="with --remove, remove it")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    asked = parser.parse_args()
    if asked.remove and not asked.state:
        raise ValueError("--remove needs --state: which runs, such as --state failed lost")
    if asked.yes and not asked.remove:
        raise ValueError("--yes is for --remove")
    every = list_runs(asked.logs)
    if asked.remove:
        found = chosen(every, asked.state, asked.older_than)
        if asked.yes:
            remove(found)
    else:
        old = datetime.datetime.now().astimezone() - datetime.timedelta(days=asked.older_than)
        found = [run for run in every if run.state in (asked.state or STATES) and run.since <= old]
    if asked.json:
        print(json_text({"runs": [run.record() for run in found], "removed": asked.remove and asked.yes}))
        return
    _show(found, asked.logs)
    if asked.remove:
        size = sum(run.num_bytes for run in found) / 1e6
        print(f"{_num(len(found))}, {size:.1f} MB, {'removed' if asked.yes else 'would be removed: add --yes'}")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"must be a number of days, not {text!r}")
    return days


def _show(runs: list[ListedRun], logs: Path) -> None:
    width = None if sys.stdout.isatty() else ANY_WIDTH
    console = Console(highlight=False, markup=False, width=width)
    title = f"{_num(len(runs))} in {printable(str(logs))}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("run", "state", "test score", "value", "age", "MB"):
        table.add_column(column, overflow="fold", justify="right" if column in ("value", "age", "MB") else "left")
    for run in runs:
        name, value = (run.score[0].removeprefix("test/"), f"{run.score[1]:.4f}") if run.score else ("-", "-")
        table.add_row(_name(run, logs), run.state, name, value, _age(run.since), f"{run.num_bytes / 1e6:.1f}")
    console.print(table)
    for run in runs:
        if run.reason is not None:
            console.print(f"{_name(run, logs)} {run.state}: {printable(run.reason)[:300]}", soft_wrap=True)


def _name(run: ListedRun, logs: Path) -> str:
    return printable(str(run.folder.relative_to(logs)))


def _num(runs: int) -> str:
    return f"{runs} run{'' if runs == 1 else 's'}"


def _age(since: datetime.datetime) -> str:
    seconds = (datetime.datetime.now().astimezone() - since).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
