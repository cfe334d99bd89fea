"""What the script does."""

import argparse
import difflib
import importlib.metadata
import json
import math
import platform
import shlex
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from lab import busy
from lab.arguments import Arguments, positive, run_command
from lab.runs import PROJECT, environment

LIBRARIES = ("torch", "torchvision", "lightning", "pytorch-metric-learning", "keras", "jax", "tensorflow")
OTHERS = ("pytorch-metric-learning", "keras")  # that are compared with where they are installed
SCALING = "scaling"
SECONDS_BESIDE = {"t1": 20, "residual": 20, "retrieval": 20}  # of a contestant, beside what is timed of it; of others some 8
SCALING_SECONDS = 35
OF_THE_CPU = ("folder", "start_up", SCALING)
# All cases, for a --help that does not wait for PyTorch.
NAMES = "p2 s1 t1 residual one_shot retrieval folder options_p2 options_t1 options_residual options_large start_up scaling"


def benchmark() -> None:
    """Time what the command line asks for, and write the table."""
    run_command(_benchmark)


def _benchmark() -> None:
    asked = _parser().parse_args()
    from lab.benchmark.cases import CASES
    from lab.benchmark.contest import peers_of
    from lab.benchmark.measure import START_UP
    from lab.benchmark.options import WITH_OPTIONS
    from lab.benchmark.scoring import SCORING
    from lab.benchmark.table import markdown

    every = {case: peers_of(case, asked.accelerator) for case in (*CASES, *SCORING, *WITH_OPTIONS)} | {
        START_UP: ["own", "imports"]
    }
    if unknown := [name for name in asked.cases if name not in (*every, SCALING)]:
        near = difflib.get_close_matches(unknown[0], [*every, SCALING], n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"there is no case {unknown[0]!r}; {advice}there are {', '.join([*every, SCALING])}")
    _check_accelerator(asked.accelerator, asked.cases)
    folder = (asked.output or PROJECT / "lightning_logs" / "benchmark").resolve()
    _make_folder(folder)
    wanted = asked.cases or [case for case in (*every, SCALING) if asked.accelerator == "cpu" or case not in OF_THE_CPU]
    cases, scales = {case: every[case] for case in wanted if case in every}, SCALING in wanted
    facts = {"command": f"python scripts/benchmark.py {shlex.join(sys.argv[1:])}".strip(), "rounds": asked.rounds}
    facts |= _where(asked.accelerator)
    taken = sum(len(peers) * (asked.seconds + SECONDS_BESIDE.get(case, 8)) for case, peers in cases.items())
    minutes = max(1, round((asked.rounds * taken + SCALING_SECONDS * scales) / 60))
    print(f"takes some {minutes} min on an idle machine; what is measured goes to {folder}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was made for it is removed
    try:
        record = _measured(cases, scales, asked, folder, facts)
    except (KeyboardInterrupt, SystemExit):
        print(f"interrupted; what was measured is in {folder}", flush=True)
        raise
    print(f"\n{markdown(record)}\n{folder / 'README.md'}, results.json and the pictures beside it")


def _measured(
    cases: dict[str, list[str]], scales: bool, asked: argparse.Namespace, folder: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Time the contestants of each case, and the scaling; write what there is after each, and return the record of all."""
    from lab.benchmark.data import make_data
    from lab.benchmark.measure import Results, Taken, measure
    from lab.benchmark.scaling import Growth, grow
    from lab.benchmark.table import ABOUT, record_of, write

    missing, disturbed = [*cases, *[SCALING] * scales], list[str]()
    facts, results = facts | {"missing": missing, "disturbed": disturbed}, Results()
    scaling: dict[str, list[Growth]] = {}

    def say(case: str, number: int, peer: str, taken: str) -> None:
        print(f"{case}, {number} of {asked.rounds}, {ABOUT[peer]}: {taken}", flush=True)
        write(folder, record_of(results, scaling, facts))

    with tempfile.TemporaryDirectory() as work:
        if cases:
            make_data(Path(work))
        for case, peers in cases.items():
            disturbed += [case] * _is_disturbed(case)
            results[case] = {peer: Taken() for peer in peers}
            measure(case, results[case], Path(work), asked.rounds, asked.seconds, partial(say, case), asked.accelerator)
            missing.remove(case)
    if scales:
        disturbed += [SCALING] * _is_disturbed(SCALING)
        scaling = grow(partial(print, flush=True))
        missing.remove(SCALING)
    record = record_of(results, scaling, facts)
    write(folder, record)
    return record


def _check_accelerator(accelerator: str, cases: list[str]) -> None:
    if accelerator == "cpu":
        return
    if of_the_cpu := [case for case in cases if case in OF_THE_CPU]:
        raise ValueError(f"{of_the_cpu[0]} is timed on the CPU alone: leave it, or --accelerator gpu, out")
    import torch

    if not torch.cuda.is_available():
        raise ValueError("--accelerator gpu: PyTorch sees no GPU here: leave it out to time the CPU")


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"-o {folder} is a file: name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_of_a_benchmark(folder):
        raise ValueError(f"-o {folder} holds other files, which would be written over: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)


def _is_of_a_benchmark(folder: Path) -> bool:
    try:
        return "scaling" in json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _is_disturbed(case: str) -> bool:
    """Return whether other programs use the processor just now, and say so."""
    import torch

    since = busy.now()
    time.sleep(0.5)
    words = busy.warning(since, busy.now(), torch.get_num_threads())
    if words:
        print(f"WARNING: {case} is not to be relied on: {words.partition(':')[0]}", flush=True)
    return bool(words)


def _where(accelerator: str) -> dict[str, Any]:
    """Return what it is timed on, and with."""
    import torch

    from lab.device import device_name

    found, own = {name: _version(name) for name in LIBRARIES}, environment()
    return {
        "accelerator": accelerator,
        "device": ", ".join(device_name(torch.device(kind)) for kind in ("cuda", "cpu")[accelerator == "cpu" :]),
        "python": platform.python_version(),
        "versions": {name: version for name, version in found.items() if version is not None},
        "commit": own.get("commit"),
        "uncommitted_changes": bool(own.get("uncommitted_changes")),
        "absent": [name for name in OTHERS if found[name] is None],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = Arguments(
        "Time training and scoring beside a bare loop, stock Lightning and others, by turns in processes of their own."
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"what is timed, of {NAMES} (all)")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu", help="what computes (cpu)")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="how often each is timed (5)")
    parser.add_argument("--seconds", type=_seconds, default=5.0, metavar="S", help="how long a round of training is timed (5)")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for table and picture (lightning_logs/benchmark)")
    return parser
