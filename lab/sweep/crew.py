"""The worker processes of a sweep: started, started again, ended."""

import contextlib
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from lab.sweep.settings import Settings
from lab.sweep.study import Trials
from lab.workers import environment_of_worker

LOOK_EVERY = 5.0  # seconds after which the storage is asked whether there is something to do
MOST_IDLE_DEATHS = 3  # of workers that have taken no trial, after which there must be something wrong with all


class Crew:
    """The processes that take the trials of a sweep on this machine.

    Args:
        trials: of the sweep.
    """

    def __init__(self, trials: Trials) -> None:
        self.trials, self.settings = trials, trials.settings
        self.workers: dict[int, subprocess.Popen[str]] = {}
        self.num_idle_deaths = 0
        self._says_that_it_waits = False

    def work(self) -> None:
        """Keep workers at work until no trial is waiting or running, here or elsewhere.

        Raises:
            ValueError: if workers end before they take a trial.
        """
        looked = -LOOK_EVERY
        while True:
            ended = self._bury()
            if ended or time.monotonic() - looked >= LOOK_EVERY:
                looked = time.monotonic()
                self.trials.put_back_lost()
                waiting, running = self.trials.all(TrialState.WAITING), self.trials.all(TrialState.RUNNING)
                self._start(len(waiting), [trial for trial in running if self._is_here(trial)])
                if not self.workers:
                    if not waiting and not running:
                        return
                    self._say_that_it_waits(len(running))
            time.sleep(0.05)

    def end(self) -> None:
        """End all workers, and put their trials back."""
        for worker in self.workers.values():
            worker.terminate()
        for worker in self.workers.values():
            try:
                worker.wait(5)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        for trial in self.trials.all(TrialState.RUNNING):
            if self._is_here(trial):
                self.trials.put_back(trial)
        self.workers.clear()

    def _start(self, num_waiting: int, running: list[FrozenTrial]) -> None:
        """Start as many workers as there are places and trials for; those that were just started will take one each."""
        num_wanted = num_waiting - (len(self.workers) - len(running))
        for place in range(self.settings.num_workers):
            if place not in self.workers and num_wanted > 0:
                self.workers[place] = start_worker(self.settings, place)
                num_wanted -= 1

    def _bury(self) -> bool:
        """Let go of workers that have ended; what they leave undone is tried once more."""
        ended = {place: worker for place, worker in self.workers.items() if worker.poll() is not None}
        for place, worker in ended.items():
            undone = [trial for trial in self.trials.all(TrialState.RUNNING) if self._is_of(trial, worker)]
            del self.workers[place]
            for trial in undone:
                print(self.trials.note_death(trial, _end_of(worker)), flush=True)
            if worker.returncode != 0 and not undone:
                self.num_idle_deaths += 1
                log = log_of(self.settings, place)
                if self.num_idle_deaths == MOST_IDLE_DEATHS:
                    raise ValueError(f"workers end before they take a trial, by {_end_of(worker)}: {_last_line(log)} ({log})")
        return bool(ended)

    def _is_here(self, trial: FrozenTrial) -> bool:
        return any(self._is_of(trial, worker) for worker in self.workers.values())

    def _is_of(self, trial: FrozenTrial, worker: "subprocess.Popen[str]") -> bool:
        process = trial.user_attrs.get("process") or {}
        return process.get("process") == worker.pid and process.get("machine") == platform.node()

    def _say_that_it_waits(self, num: int) -> None:
        if not self._says_that_it_waits:
            print(f"waiting for {num} trials that run elsewhere; Ctrl-C ends that", flush=True)
        self._says_that_it_waits = True


def start_worker(settings: Settings, place: int) -> "subprocess.Popen[str]":
    """Start a worker, which gets its share of the processors and of the GPUs, and ends when this process does."""
    environment = environment_of_worker(place, settings.num_workers)
    # -P: what lies in the working directory must not be taken for a library. A session of its own, so that Ctrl-C reaches it
    # through this process alone.
    command = [sys.executable, "-P", "-m", "lab.sweep.worker", str(log_of(settings, place))]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, text=True, start_new_session=True)
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has died, which is found out next
        worker.stdin.write(settings.to_json() + "\n")
        worker.stdin.flush()
    return worker


def log_of(settings: Settings, place: int) -> Path:
    """Return the file that takes what training prints."""
    return settings.folder / f"worker_{place}.log"


def _end_of(worker: "subprocess.Popen[str]") -> str:
    if worker.returncode >= 0:
        return f"exit code {worker.returncode}"
    return signal.Signals(-worker.returncode).name


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line for line in reversed(lines) if line.strip()), "it has written nothing")
