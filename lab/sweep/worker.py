"""A process that takes one trial after another: python -m lab.sweep.worker LOG, with the settings on its standard input."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

import optuna

from lab.commands import run_training
from lab.sweep.settings import Settings
from lab.sweep.storage import BEAT_EVERY
from lab.sweep.study import Trials
from lab.sweep.trial import try_values
from lab.sweep.words import line_of


def work(settings: Settings, report: TextIO) -> None:
    """Take trials until none is waiting, and write a line of each."""
    trials = Trials(settings)
    while (trial := trials.take()) is not None:
        with beating(trial, trials):
            try_values(trial, trials)
        (ended,) = (one for one in trials.all() if one.number == trial.number)
        report.write(f"{line_of(ended, settings)}\n")
        report.flush()


@contextlib.contextmanager
def beating(trial: optuna.Trial, trials: Trials) -> Iterator[None]:
    """Say meanwhile from time to time that a trial is alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_EVERY):
            with contextlib.suppress(Exception):  # a storage that is busy is told the next time
                trials.storage.record_heartbeat(trial._trial_id)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> None:
    """Work by the settings on the standard input, until the trials, or the process that has started this one, are no more."""
    settings = Settings.from_json(sys.stdin.readline())
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for descriptor in (1, 2):
        os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_training(lambda: _work(settings, report))


def _work(settings: Settings, report: TextIO) -> None:
    signal.signal(signal.SIGTERM, _end)  # at once: what is half done is done again
    work(settings, report)


def _end_with_parent() -> None:
    sys.stdin.read()  # until there is nobody left who could write
    os._exit(1)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
