"""The commands to repeat a run and to use what it has made."""

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from lab.report.run import Run
from lab.runs import PROJECT


class Command(NamedTuple):
    """What a command does, and the command."""

    purpose: str
    text: str


def commands_of(run: Run) -> list[Command]:
    """Return the commands to type next, from the folder of the project; of what is not there, none."""
    folder, checkpoint = _shown(run.folder), run.checkpoint
    last = run.folder / "checkpoints" / "last.ckpt"
    commands = []
    if run.record.get("commit"):
        commands.append(Command("Go back to the code of this run", f"git checkout {shlex.quote(str(run.record['commit']))}"))
    if run.is_test_only:
        if checkpoint is not None:
            again = f"python scripts/test.py --config {folder}/config.yaml --ckpt_path {_shown(checkpoint)}"
            commands.append(Command("Repeat this test", again))
    else:
        commands.append(Command("Repeat this run", f"python scripts/fit.py --config {folder}/config.yaml"))
        if not run.record and last.is_file():
            goes_on = f"python scripts/fit.py --resume {folder}"
            commands.append(Command("Go on where it was interrupted", goes_on))
        if checkpoint is not None:
            again = f"python scripts/test.py --ckpt_path {_shown(checkpoint)}"
            commands.append(Command("Score it again", again))
    commands.append(Command("See all curves", f"tensorboard --logdir {_shown(run.folder.resolve().parent)}"))
    if checkpoint is not None:
        page = f"python scripts/demo.py {_shown(checkpoint)}"
        commands.append(Command("Try it in a browser", page))
        loads = f"from lab.models import load\nmodel = load({str(_near(checkpoint))!r})  # family, network and weights"
        commands.append(Command("Use it from Python", loads))
    return commands


def _near(path: Path) -> Path:
    """Return a path as seen from the project where it lies below it, else in full."""
    path = path.resolve()
    return Path(os.path.relpath(path, PROJECT)) if path.is_relative_to(PROJECT) else path


def _shown(path: Path) -> str:
    return shlex.quote(str(_near(path)))
