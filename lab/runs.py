"""The folder of a run, and the record it leaves there."""

import contextlib
import csv
import datetime
import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.writing import json_text, whole_file

PROJECT = Path(__file__).resolve().parent.parent


def new_run_folder(parent: Path) -> Path:
    """Make ``parent/version_k`` with the lowest k above all there are; two runs started at once get one each."""
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        try:
            (parent / f"version_{number}").mkdir()
            return parent / f"version_{number}"
        except FileExistsError:
            number += 1


def is_main_process() -> bool:
    """Return whether this process is the first or only one of a run; Lightning, torchrun and SLURM number them."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((int(rank) == 0 for rank in ranks if rank), True)


def discard_run_folder(folder: Path | None) -> None:
    """Remove the folder of a run in which nothing has happened, and the one above it where this leaves that empty."""
    if folder is None:
        return
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def environment() -> dict[str, Any]:
    """Return the versions and the commit that a score was measured with."""
    packages = ("lab", "torch", "torchvision", "lightning", "torchmetrics", "numpy")
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
    return {
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def note_state(run_folder: Path | None, state: str, reason: str | None = None) -> None:
    """Write down what has become of a run: ``running``, ``finished``, ``interrupted`` or ``failed``, and why.

    Nothing is written where there is no such folder, or no room on the disk: this must not hide what went wrong before.
    """
    if run_folder is None or not run_folder.is_dir() or not is_main_process():
        return
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    process = {"process": os.getpid(), "machine": platform.node()}
    with contextlib.suppress(ValueError):
        write_json(run_folder / "state.json", {"state": state, "reason": reason, "since": now, **process})


def write_traceback(run_folder: Path, error: BaseException) -> str:
    """Write where an error came from, and return the file as seen from the working directory."""
    path = run_folder / "traceback.txt"
    with contextlib.suppress(OSError, ValueError), whole_file(path) as unfinished:
        unfinished.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return short_path(path)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(json_text(record, indent=2) + "\n", encoding="utf-8")


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file whole or not at all."""
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def print_scores(title: str, scores: dict[str, float], intervals: dict[str, tuple[float, float]]) -> None:
    """Print a table of scores by name, with their 95 % intervals where they have one."""
    table = Table("score", "value", "95 % interval", title=title, title_justify="left")
    for name, score in scores.items():
        table.add_row(name, f"{score:.4f}", " to ".join(f"{end:.4f}" for end in intervals.get(name, ())))
    _console().print(table)


def print_next(run_folder: Path, record: dict[str, Any], trust: str, trust_model: str) -> None:
    """Print where the results of a run are, and the commands that a user types next.

    Args:
        run_folder: the folder of the run.
        record: what ``metrics.json`` holds.
        trust, trust_model: the options with which a command may make the classes of the config, and those of its model.
    """
    console = _console()
    if "fit" in record["seconds"]:
        console.print(f"trained to epoch {record['epochs']} in {record['seconds']['fit']} s")
    if record.get("collapsed_at_steps"):
        console.print(
            f"training collapsed at step {' and '.join(map(str, record['collapsed_at_steps']))}: see the warning above"
        )
    console.print(f"scores:          {short_path(run_folder / 'metrics.json')}")
    if (run_folder / "pictures").is_dir():
        console.print(f"pictures:        {short_path(run_folder / 'pictures')}")
    if "fit" in record["seconds"] and "best_epoch" not in record:
        console.print("best checkpoint: none, so these are the scores of the weights at the end")
    if "best_epoch" in record:
        checkpoint = short_path(Path(record["checkpoint"]))
        ((name, score),) = record["best_score"].items()
        console.print(f"best checkpoint: {checkpoint}, of epoch {record['best_epoch']} with {name} {score:.4f}\n\nnext:")
        console.print(f"  tensorboard --logdir {short_path(run_folder.parent.parent)}")
        console.print(f"  {script('report.py')} {short_path(run_folder)}")
        console.print(f"  {script('test.py')} --ckpt_path {checkpoint}{trust}")
        use = script("verify.py" if "test/pair_accuracy" in record else "predict.py")
        console.print(f"  {use} {checkpoint} a.png b.png{trust_model}")


def print_interrupted(run_folder: Path, trust: str) -> None:
    """Print what there is of a run that was stopped, and the command that goes on with it, with its options ``trust``."""
    console, last = _console(), run_folder / "checkpoints" / "last.ckpt"
    if not last.is_file():
        console.print(f"interrupted before the first epoch was over; {short_path(run_folder)} has no checkpoint to go on from")
        return
    console.print(f"interrupted; to go on:\n  {script('fit.py')} --resume {short_path(run_folder)}{trust}")


def print_without(run_folder: Path, listed: Path, options: list[str]) -> None:
    """Print the command that trains by a run's config without the images of a list, with ``options`` for its data."""
    arguments = ["--config", short_path(run_folder / "config.yaml"), "--data.exclude", short_path(listed), *options]
    _console().print(f"\nto train without them:\n  {script('fit.py')} {shlex.join(arguments)}")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def script(name: str) -> str:
    """Return how a script is started from the working directory."""
    return f"python {short_path(PROJECT / 'scripts' / name)}"


def short_path(path: Path) -> str:
    """Shorten a path as seen from the working directory, where it lies below it."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
