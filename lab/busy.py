"""Whether other programs use the processor, beside which threads that wait for each other take many times as long."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import torch

SHORTEST = 0.2  # seconds; the system counts in hundredths of one
SPARE = 0.5  # cores that may be missing


class Moment(NamedTuple):
    """What was counted up to a moment, all in seconds.

    Args:
        time: by a clock that never goes back.
        idle: of all cores, added up.
        own: of cores, used by this process.
    """

    time: float
    idle: float
    own: float


def now() -> Moment | None:
    """Return what is counted by now; None where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
        ticks_a_second = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    idle = sum(map(int, fields[4:6]))  # with what waited for a disk
    return Moment(time.monotonic(), idle / ticks_a_second, time.process_time())


def complaint(since: Moment | None, until: Moment | None, num_threads: int) -> str:
    """Return in one line that fewer cores were free for this process than it has threads; nothing where there were enough."""
    if since is None or until is None or num_threads < 2 or until.time - since.time < SHORTEST:
        return ""
    free = (until.idle - since.idle + until.own - since.own) / (until.time - since.time)
    if free >= num_threads - SPARE:
        return ""
    return (
        f"other programs use the processor, {free:.1f} cores are free for {num_threads} threads: as these wait for each other, "
        "a step may take ten times as long; OMP_NUM_THREADS=1 avoids that"
    )


def warn_if_busy(since: Moment | None) -> None:
    """Print a warning where it has been so since a moment."""
    if words := complaint(since, now(), torch.get_num_threads()):
        print(f"WARNING: {words}", flush=True)
