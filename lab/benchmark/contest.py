"""One contestant in one case, in a process of its own.

python -m lab.benchmark.contest CASE PEER ROOT SECONDS FILE ACCELERATOR
"""

import contextlib
import importlib
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from lab.benchmark.cases import CASES, Accelerator, device_of
from lab.benchmark.clock import Clock, Enough
from lab.benchmark.keras_peer import backend
from lab.benchmark.options import WITH_OPTIONS, Step, ways_of
from lab.benchmark.scoring import SCORING, timed
from lab.freed_memory import keep_freed_memory

# By name, so that only those have Lightning, or Keras, in their process that use it.
PEERS = {
    "own": "lab.benchmark.own.own",
    "own_bf16": "lab.benchmark.own.own_bf16",
    "own_recorded": "lab.benchmark.own.own_recorded",
    "bare": "lab.benchmark.bare.bare",
    "lightning": "lab.benchmark.peers.lightning",
    "stock": "lab.benchmark.peers.stock",
    "stock_2_workers": "lab.benchmark.peers.stock_2_workers",
    "metric_learning": "lab.benchmark.peers.metric_learning",
    "keras": "lab.benchmark.keras_peer.keras",
}

STEPS_A_LAP = 20  # on a GPU, which is not waited for after each step, as it is not in training
# All others keep freed memory, and take no GPU kernels but those that give the same numbers each time, as the commands of this
# codebase do: what that saves or costs is no merit or fault of its loop.
AS_THEY_COME = ("decode", "memory_given_back", "stock", "stock_2_workers", "metric_learning", "keras")


def peers_of(case: str, accelerator: Accelerator = "cpu") -> list[str]:
    """Return who there is to compare with in a case, with what is installed."""
    if case in SCORING:
        return ["own", *SCORING[case][2]]
    if case in WITH_OPTIONS:
        return ["own", *ways_of(replace(WITH_OPTIONS[case], accelerator=accelerator))]
    found = ["own", *["own_bf16", "own_recorded"] * (accelerator == "gpu"), "bare", "lightning", "stock", "stock_2_workers"]
    if CASES[case].order != "random" and importlib.util.find_spec("pytorch_metric_learning") is not None:
        found.append("metric_learning")
    return [*found, *["keras"] * ("keras" in CASES[case].targets and accelerator == "cpu" and _has_keras())]


def _has_keras() -> bool:
    return importlib.util.find_spec("keras") is not None and backend() is not None


def main() -> None:
    """Run it, and write what it took."""
    case, peer, root, seconds, file, asked = sys.argv[1:]
    accelerator: Accelerator = "gpu" if asked == "gpu" else "cpu"
    clock = Clock(float(seconds), of_gpu=accelerator == "gpu")
    if peer not in AS_THEY_COME:
        keep_freed_memory()
        torch.backends.cudnn.deterministic = True
    with contextlib.suppress(Enough):
        if case in SCORING:
            timed(SCORING[case][1](Path(root), device_of(accelerator))[peer], clock)
        elif case in WITH_OPTIONS:
            step = Step(replace(WITH_OPTIONS[case], accelerator=accelerator), "" if peer == "own" else peer)
            timed(step, clock, STEPS_A_LAP if clock.of_gpu else 1)
        else:
            module, _, name = PEERS[peer].rpartition(".")
            train = getattr(importlib.import_module(module), name)
            train(replace(CASES[case], accelerator=accelerator), Path(root), clock)
    Path(file).write_text(json.dumps(clock.record()), encoding="utf-8")


if __name__ == "__main__":
    main()
