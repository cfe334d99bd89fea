"""Experiments that run side by side, each as soon as what it starts from has ended."""

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import IO, TypeVar

from lab.reproduce.experiment import Experiment
from lab.reproduce.measured import Elsewhere
from lab.runs import PROJECT

Result = TypeVar("Result")


@dataclass(frozen=True)
class Seeded:
    """An experiment with a seed."""

    experiment: Experiment
    seed: int

    def waits_for(self, other: "Seeded") -> bool:
        """Return whether this one must not begin before another has ended: it needs its run or the same steps."""
        if self.seed == other.seed:
            return other.experiment.name in self.experiment.needs
        return self.experiment is other.experiment and bool(self.experiment.before) and other.seed < self.seed


def seeded(experiments: Iterable[Experiment], seeds: Iterable[int], elsewhere: Elsewhere | None = None) -> list[Seeded]:
    """Return experiments with seeds, seed by seed, but for those measured elsewhere that none here starts from."""
    found: list[Seeded] = []
    for seed, experiment in reversed(list(itertools.product(seeds, experiments))):  # what is needed stands before
        is_known = seed in (elsewhere or {}).get(experiment.name, {})
        is_needed = any(seed == other.seed and experiment.name in other.experiment.needs for other in found)
        if is_needed or not is_known:
            found.insert(0, Seeded(experiment, seed))
    return found


@dataclass
class Processes:
    """The processes that run, which are ended together."""

    _running: "set[subprocess.Popen[bytes]]" = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ending: bool = False

    def run(self, words: Sequence[str], output: IO[str], environment: dict[str, str]) -> int:
        """Run a script of Python, its words going to a file; return its exit code, negative where a signal ended it."""
        with self._lock:
            if self._ending:
                return -signal.SIGTERM
            command = [sys.executable, *words]
            process = subprocess.Popen(command, cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT, env=environment)
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """Tell all of them to end, which write down where they were (but on Windows), and begin no other."""
        with self._lock:
            self._ending = True
            for process in self._running:
                process.terminate()


def run_side_by_side(
    asked: Iterable[Seeded], run: Callable[[Seeded, int], Result], end: Callable[[], None], num_workers: int
) -> Generator[Result]:
    """Run experiments side by side, and yield what comes of each as it ends.

    Args:
        asked: in the order in which they begin, but that one that waits for another lets others pass.
        run: runs one, given the number of its worker, 0 to ``num_workers - 1``.
        end: ends what is running, if this process is told to end.
        num_workers: how many may run together.
    """
    waiting = list(asked)
    running: dict[Future[Result], tuple[Seeded, int]] = {}
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            while waiting or running:
                for one in list(waiting):
                    free = set(range(num_workers)) - {worker for _, worker in running.values()}
                    if free and not any(one.waits_for(other) for other in [*waiting, *(busy for busy, _ in running.values())]):
                        waiting.remove(one)
                        running[pool.submit(run, one, min(free))] = one, min(free)
                ended, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)  # on Windows Ctrl-C is heard in between
                for future in ended:
                    del running[future]
                    yield future.result()
        except BaseException:
            end()
            raise
