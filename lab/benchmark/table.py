"""What was timed, as a table, a picture and a record."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import plots
from lab.benchmark.cases import CASES
from lab.benchmark.measure import START_UP, Results, Taken, ratio
from lab.benchmark.options import WITH_OPTIONS
from lab.benchmark.scaling import Growth, exponent
from lab.benchmark.scoring import SCORING
from lab.plots.timings import time_words
from lab.runs import write_json
from lab.writing import whole_file

ABOUT = {
    "own": "this codebase",
    "own_bf16": "this codebase in bf16",
    "own_recorded": "this codebase, its steps recorded and played back",
    "bare": "a bare loop, or the bare products",
    "lightning": "Lightning alone, over tensors in memory",
    "stock": "Lightning, torchvision's data, DataLoader",
    "stock_2_workers": "the same with 2 workers",
    "metric_learning": "pytorch-metric-learning's trainer, of all pairs of a batch",
    "keras": "Keras (its process has PyTorch too)",
    "decode": "decoding anew",
    "one_thread": "with one thread",
    "all_threads": "with a thread for each core",
    "contiguous": "channels first in memory",
    "compiled": "the network by torch.compile",
    "recorded": "the network recorded and played back (cudagraphs)",
    "bf16": "the network in bf16",
    "looped": "the optimizer's loop, in place of one call",
    "memory_given_back": "freed memory given back to the system",
    "imports": "importing torch, torchvision and lightning",
}
AS_CHOSEN = "as it is chosen here"  # of options, whose steps are bare
PICTURES = ("timings", "scaling")
TRAINING = CASES | WITH_OPTIONS
FEWEST_ROUNDS = 3  # to judge by
START_UP_TARGETS = {"imports": 1.5}


def about(case: str) -> str:
    """Return what a case is."""
    if case == START_UP:
        return "from the start of fit.py to the end of the first step, bundled digits"
    if case in WITH_OPTIONS:
        return f"a bare step: {WITH_OPTIONS[case].about}"
    return CASES[case].about if case in CASES else SCORING[case][0]


def targets_of(case: str) -> Mapping[str, float | None]:
    """Return by peer how many times its time this codebase may take."""
    if case == START_UP:
        return START_UP_TARGETS
    if case in WITH_OPTIONS:
        return {}
    return CASES[case].targets if case in CASES else SCORING[case][2]


def record_of(results: Results, scaling: dict[str, list[Growth]], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the table in plain Python."""
    cases = [
        {
            "name": case,
            "about": about(case),
            "peers": [_entry(case, peer, taken, peers["own"], facts["accelerator"]) for peer, taken in peers.items()],
        }
        for case, peers in results.items()
    ]
    grown = {
        axis: [{**asdict(growth), "exponent": exponent(axis, growth)} for growth in parts] for axis, parts in scaling.items()
    }
    return {**facts, "cases": cases, "scaling": grown}


def _entry(case: str, peer: str, taken: Taken, own: Taken, accelerator: str) -> dict[str, Any]:
    times, target = ratio(own, taken), targets_of(case).get(peer) if accelerator == "cpu" else None  # aims are of CPUs
    num_images = TRAINING[case].batch_size if case in TRAINING else 0  # in a step
    return {
        "peer": peer,
        "about": AS_CHOSEN if peer == "own" and case in WITH_OPTIONS else ABOUT[peer],
        "milliseconds": taken.milliseconds,
        "median": taken.median,
        "images_per_second": 1000.0 * num_images / taken.median if num_images and taken.milliseconds else None,
        "mebibytes": max(taken.mebibytes, default=None),
        "own_takes": None if peer == "own" or math.isnan(times) else times,
        "target": target,
        "reached": None if target is None or len(taken.milliseconds) < FEWEST_ROUNDS or math.isnan(times) else times <= target,
        "reason": taken.reason,
    }


def markdown(record: dict[str, Any]) -> str:
    """Return the table of a record as Markdown."""
    lines = ["# How fast", "", f"Written by `{record['command']}`."]
    if record["cases"]:
        lines[-1] += (
            f" {record['rounds']} round{'' if record['rounds'] == 1 else 's'} by turns; milliseconds a step, or a call: the "
            "median, and the least and the most of all rounds. Ratios are medians over rounds; where one is to be at most so "
            f"much, it is judged from {FEWEST_ROUNDS} rounds on."
        )
    if missing := record["missing"]:
        lines += ["", f"**Not complete: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} still to be measured.**"]
    if record["disturbed"]:
        which = ", ".join(record["disturbed"])
        lines += ["", f"**Not to be relied on: other programs used the processor when these began: {which}.**"]
    if record["cases"]:
        memory = "peak memory" if record["accelerator"] == "cpu" else "peak memory of the GPU"
        head = ["case", "who", "milliseconds", "images a second", "this codebase takes", memory]
        lines += ["", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [line for case in record["cases"] for line in _rows(case)]
    for axis, parts in record["scaling"].items():
        sizes = sorted({size for growth in parts for size in growth["microseconds"]})
        lines += [
            "",
            f"Microseconds by {axis}, the fastest of some calls, empty where there is no such batch; and by which power of "
            f"{axis} the cost of a whole epoch grows between the two largest:",
            "",
            f"| part | {' | '.join(f'{size:,}' for size in sizes)} | an epoch |",
        ]
        lines += [f"|{' --- |' * (len(sizes) + 2)}", *(_growth_row(growth, sizes) for growth in parts)]
    where = f"{record['device']}, Python {record['python']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    changed = " with changes" if record["uncommitted_changes"] else ""
    absent = f" Not installed, so not timed: {', '.join(record['absent'])}." if record["absent"] else ""
    return "\n".join([*lines, "", f"Measured on {where}; commit {record['commit']}{changed}.{absent}"]) + "\n"


def _rows(case: dict[str, Any]) -> Iterator[str]:
    for number, entry in enumerate(case["peers"]):
        name = f"**{case['name']}** {case['about']}" * (number == 0)
        times = [] if entry["own_takes"] is None else [f"{entry['own_takes']:.2f} times that"]
        if entry["target"] is not None:
            verdict = {None: "", True: ": reached", False: ": missed"}[entry["reached"]]
            times.append(f"at most {entry['target']:g}{verdict}")
        memory = "" if entry["mebibytes"] is None else f"{entry['mebibytes']:,.0f} MiB"
        speed = "" if entry["images_per_second"] is None else f"{entry['images_per_second']:,.0f}"
        yield f"| {name} | {entry['about']} | {_milliseconds(entry)} | {speed} | {'; '.join(times)} | {memory} |"


def _growth_row(growth: dict[str, Any], sizes: list[int]) -> str:
    taken = [time_words(growth["microseconds"][size]) if size in growth["microseconds"] else "" for size in sizes]
    power = "" if growth["exponent"] is None else f"{growth['exponent']:.2f}"
    return f"| {growth['part']}, a{'n' * (growth['unit'] == 'image')} {growth['unit']} | {' | '.join(taken)} | {power} |"


def _milliseconds(entry: dict[str, Any]) -> str:
    taken = entry["milliseconds"]
    failed = f"failed: {entry['reason']}".replace("|", "\\|") if entry["reason"] else ""
    if not taken:
        return failed
    times = f"{time_words(entry['median'])} ({time_words(min(taken))} to {time_words(max(taken))})"
    return f"{times}, then {failed}" if failed else times


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write record, table and pictures; those of an earlier run, of what is not in the record, are removed."""
    write_json(folder / "results.json", record)
    timings = {case["name"]: {entry["about"]: entry["milliseconds"] for entry in case["peers"]} for case in record["cases"]}
    with whole_file(folder / "README.md") as unfinished:
        unfinished.write_text(markdown(record), encoding="utf-8")
    grown = {axis: {one["part"]: one["microseconds"] for one in parts} for axis, parts in record["scaling"].items()}
    pictures = {"timings": plots.timings(timings)} if timings else {}
    pictures |= {"scaling": plots.growth(grown)} if grown else {}
    for name in PICTURES:
        if name not in pictures:
            (folder / f"{name}.png").unlink(missing_ok=True)
            continue
        with whole_file(folder / f"{name}.png") as unfinished:
            unfinished.write_bytes(plots.png_bytes(pictures[name]))
