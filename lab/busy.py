"""Whether other programs use the processor, beside which threads that wait for each other take many times as long."""

import os
import time
from pathlib import Path
from typing import NamedTuple

SHORTEST = 0.2  # seconds; the system counts in hundredths of one
ENOUGH = 0.75  # of the cores that there are threads for


class Moment(NamedTuple):
    """What was counted up to a moment, in seconds.

    Args:
        time: by a clock that never goes back.
        idle: of the cores that this process may use, added up.
        own: of cores, used by this process.
        num_cores: how many it may use.
    """

    time: float
    idle: float
    own: float
    num_cores: int


def now() -> Moment | None:
    """Return what is counted by now; None where the system does not tell. A container's share of a core is not seen."""
    try:
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines()]
        counted = [list(map(int, fields)) for name, *fields in filter(None, lines) if name in cores]
        ticks_a_second = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    if not any(map(sum, counted)):  # as in some sandboxes
        return None
    idle = sum(sum(fields[3:5]) for fields in counted)  # with what waited for a disk
    return Moment(time.monotonic(), idle / ticks_a_second, time.process_time(), len(counted))


def warning(since: Moment | None, until: Moment | None, num_threads: int) -> str:
    """Return in one line that too few cores were free for the threads of this process; nothing where there were enough."""
    if since is None or until is None or num_threads < 2 or until.time - since.time < SHORTEST:
        return ""
    free = (max(0.0, until.idle - since.idle) + until.own - since.own) / (until.time - since.time)
    if free >= ENOUGH * min(num_threads, until.num_cores):
        return ""
    return (
        f"other programs use the processor, {free:.1f} cores are free for {num_threads} threads: as these wait for each other, "
        f"a step may take many times as long; OMP_NUM_THREADS={max(1, int(free))} avoids that (and changes last digits)"
    )


def warn_if_busy(since: Moment | None, num_threads: int) -> None:
    """Print a warning where it has been so since a moment."""
    if words := warning(since, now(), num_threads):
        print(f"WARNING: {words}", flush=True)
