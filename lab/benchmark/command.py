"""What the script does."""

import argparse
import difflib
import importlib.metadata
import math
import platform
import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from lab.arguments import Arguments, positive, run_command
from lab.runs import PROJECT, environment

LIBRARIES = ("torch", "torchvision", "lightning", "pytorch-metric-learning", "keras", "jax", "tensorflow")
OTHERS = ("pytorch-metric-learning", "keras")  # that are compared with where they are installed
SCALING = "scaling"
SECONDS_BESIDE = {"t1": 20, "residual": 20, "retrieval": 20}  # of a contestant, beside what is timed of it; of others some 8
SCALING_SECONDS = 25


def benchmark() -> None:
    """Time what the command line asks for, and write the table."""
    run_command(_benchmark)


def _benchmark() -> None:
    asked = _parser().parse_args()
    from lab.benchmark.cases import CASES
    from lab.benchmark.contest import peers_of
    from lab.benchmark.data import make_data
    from lab.benchmark.measure import START_UP, measure
    from lab.benchmark.scaling import grow
    from lab.benchmark.scoring import SCORING
    from lab.benchmark.table import markdown, record_of, write

    every = {**{case: peers_of(case) for case in (*CASES, *SCORING)}, START_UP: ["own", "imports"]}
    if unknown := [name for name in asked.cases if name not in (*every, SCALING)]:
        near = difflib.get_close_matches(unknown[0], [*every, SCALING], n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"there is no case {unknown[0]!r}; {advice}there are {', '.join([*every, SCALING])}")
    folder = (asked.output or PROJECT / "lightning_logs" / "benchmark").resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"-o {folder} is a file: name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    cases = {case: peers for case, peers in every.items() if not asked.cases or case in asked.cases}
    scales = not asked.cases or SCALING in asked.cases
    facts = {"command": f"python scripts/benchmark.py {shlex.join(sys.argv[1:])}".strip(), "rounds": asked.rounds, **_where()}
    taken = sum(len(peers) * (asked.seconds + SECONDS_BESIDE.get(case, 8)) for case, peers in cases.items())
    minutes = max(1, round((asked.rounds * taken + SCALING_SECONDS * scales) / 60))
    print(f"takes some {minutes} min; what is measured goes to {folder} after each case", flush=True)
    missing, results = [*cases, *[SCALING] * scales], {}
    with tempfile.TemporaryDirectory() as work:
        if cases:
            make_data(Path(work))
        for case, peers in cases.items():
            results[case] = measure(case, peers, Path(work), asked.rounds, asked.seconds, partial(_say, case, asked.rounds))
            missing.remove(case)
            record = record_of(results, {}, facts | {"missing": missing})
            write(folder, record)
    if scales:
        record = record_of(results, grow(partial(print, flush=True)), facts | {"missing": []})
        write(folder, record)
    print(f"\n{markdown(record)}\n{folder / 'README.md'}, results.json and the pictures beside it")


def _where() -> dict[str, Any]:
    """Return what it is timed on, and with."""
    import torch

    from lab.device import device_name

    found, own = {name: _version(name) for name in LIBRARIES}, environment()
    return {
        "device": device_name(torch.device("cpu")),
        "python": platform.python_version(),
        "versions": {name: version for name, version in found.items() if version is not None},
        "commit": own.get("commit"),
        "uncommitted_changes": bool(own.get("uncommitted_changes")),
        "absent": [name for name in OTHERS if found[name] is None],
    }


def _say(case: str, num_rounds: int, number: int, peer: str, taken: str) -> None:
    from lab.benchmark.table import ABOUT

    print(f"{case}, {number} of {num_rounds}, {ABOUT[peer]}: {taken}", flush=True)


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
    parser.add_argument("cases", nargs="*", metavar="CASE", help="such as p2 or retrieval (all)")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="how often each is timed (5)")
    parser.add_argument("--seconds", type=_seconds, default=5.0, metavar="S", help="how long a round of training is timed (5)")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for table and picture (lightning_logs/benchmark)")
    return parser
