"""Rounds in which the contestants take turns, each in a process of its own, and what they took."""

import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.benchmark.first_step import BEGUN, FILE
from lab.plots.timings import time_words
from lab.runs import PROJECT

START_UP = "start_up"
FIRST_STEP = [
    "scripts/fit.py",
    "--config",
    "configs/classifier.yaml",
    "--trainer.callbacks",
    "lab.benchmark.first_step.FirstStep",
    "--trainer.accelerator",
    "cpu",
]
IMPORTS = f"""
import json, os, time, torch, torchvision, lightning.pytorch
milliseconds = 1000.0 * (time.time() - float(os.environ[{BEGUN!r}]))
open(os.environ[{FILE!r}], "w").write(json.dumps({{"milliseconds": milliseconds}}))
"""


@dataclass
class Taken:
    """What a contestant took in a case.

    Args:
        milliseconds: a step, or a whole call, round by round.
        mebibytes: the peak of memory of its process, likewise.
        reason: why it has none.
    """

    milliseconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)
    reason: str = ""

    @property
    def median(self) -> float:
        """The middle of all rounds; NaN where there is none."""
        return statistics.median(self.milliseconds) if self.milliseconds else math.nan


Results = dict[str, dict[str, Taken]]  # by case and peer


def ratio(one: Taken, other: Taken) -> float:
    """Return how many times as long one took as another, the middle of what the rounds say; NaN where one has no time."""
    pairs = zip(one.milliseconds, other.milliseconds, strict=False)
    return statistics.median(first / second for first, second in pairs) if one.milliseconds and other.milliseconds else math.nan


def measure(
    case: str,
    results: dict[str, Taken],
    root: Path,
    num_rounds: int,
    seconds: float,
    say: Callable[[int, str, str], None],
    accelerator: str = "cpu",
) -> None:
    """Time the peers of a case by turns; one that fails has no further round, and says why.

    Args:
        case: its name; results: what those who take turns, ``own`` among them, took, which is added to.
        root: data for it, and a place for what they write.
        num_rounds: how often each is timed; seconds: how long training is timed in a round.
        say: is told the number of the round, who, and what it took.
        accelerator: what computes, ``cpu`` or ``gpu``.
    """
    for number in range(num_rounds):
        for peer in results if number % 2 == 0 else reversed(results):
            taken = results[peer]
            if not taken.reason:
                _add(taken, _run(case, peer, root, seconds, accelerator))
                say(number + 1, peer, taken.reason or f"{time_words(taken.milliseconds[-1])} ms")


def _add(taken: Taken, found: dict[str, Any] | str) -> None:
    if isinstance(found, str):
        taken.reason = found
        return
    taken.milliseconds.append(found["milliseconds"])
    if found.get("mebibytes") is not None:
        taken.mebibytes.append(found["mebibytes"])


def _run(case: str, peer: str, root: Path, seconds: float, accelerator: str) -> dict[str, Any] | str:
    """Run one contestant; return what it wrote, or why it wrote nothing."""
    file = root / "taken.json"
    file.unlink(missing_ok=True)
    words = ["-m", "lab.benchmark.contest", case, peer, str(root), str(seconds), str(file), accelerator]
    if case == START_UP:
        own = [*FIRST_STEP, "--trainer.default_root_dir", str(root / "own")]
        words = own if peer == "own" else ["-c", IMPORTS]
    # Importing Lightning has set this here, by which the optimizers of a bare loop too would look for a driver at each step.
    as_before = {name: value for name, value in os.environ.items() if name != "PYTORCH_NVML_BASED_CUDA_CHECK"}
    environment = {**as_before, BEGUN: repr(time.time()), FILE: str(file)}
    done = subprocess.run(
        [sys.executable, *words], cwd=PROJECT, env=environment, capture_output=True, text=True, errors="replace"
    )
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    return _reason(done.returncode, done.stderr)


def _reason(code: int, text: str) -> str:
    """Return why a process has failed: the signal that ended it, or what it wrote last that names an error, or last of all."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = text.strip().splitlines() or [f"exit code {code}"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]*(Error|Exception|error)\b", line)), lines[-1])
