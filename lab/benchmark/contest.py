"""One contestant in one case, in a process of its own: python -m lab.benchmark.contest CASE PEER ROOT SECONDS FILE."""

import contextlib
import importlib
import importlib.util
import json
import sys
from pathlib import Path

from lab.benchmark.cases import CASES
from lab.benchmark.clock import Clock, Enough
from lab.benchmark.keras_peer import backend
from lab.benchmark.scoring import SCORING, timed
from lab.freed_memory import keep_freed_memory

# By name, so that only those have Lightning, or Keras, in their process that use it.
PEERS = {
    "own": "lab.benchmark.own.own",
    "bare": "lab.benchmark.bare.bare",
    "lightning": "lab.benchmark.peers.lightning",
    "stock": "lab.benchmark.peers.stock",
    "stock_2_workers": "lab.benchmark.peers.stock_2_workers",
    "metric_learning": "lab.benchmark.peers.metric_learning",
    "keras": "lab.benchmark.keras_peer.keras",
}

# All others keep freed memory as the commands of this codebase do: what that saves is no merit of its loop.
AS_THEY_COME = ("decode", "memory_given_back", "stock", "stock_2_workers", "metric_learning", "keras")


def peers_of(case: str) -> list[str]:
    """Return who there is to compare with in a case, with what is installed."""
    if case in SCORING:
        return ["own", *SCORING[case][2]]
    found = ["own", "bare", "lightning", "stock", "stock_2_workers"]
    if CASES[case].order != "random" and importlib.util.find_spec("pytorch_metric_learning") is not None:
        found.append("metric_learning")
    return [*found, *["keras"] * ("keras" in CASES[case].targets and _has_keras())]


def _has_keras() -> bool:
    return importlib.util.find_spec("keras") is not None and backend() is not None


def main() -> None:
    """Run it, and write what it took."""
    case, peer, root, seconds, file = sys.argv[1:]
    clock = Clock(float(seconds))
    if peer not in AS_THEY_COME:
        keep_freed_memory()
    with contextlib.suppress(Enough):
        if case in SCORING:
            timed(SCORING[case][1](Path(root))[peer], clock)
        else:
            module, _, name = PEERS[peer].rpartition(".")
            getattr(importlib.import_module(module), name)(CASES[case], Path(root), clock)
    Path(file).write_text(json.dumps(clock.record()), encoding="utf-8")


if __name__ == "__main__":
    main()
