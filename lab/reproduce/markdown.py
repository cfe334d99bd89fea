"""The table as Markdown."""

import math
from pathlib import Path
from typing import Any

from lab.reproduce.catalog import Catalog

PLACES = (
    "In a command, {b3} is the folder of the run of b3 with the same seed, {run} that of the row itself, {shared} that of what "
    "all its seeds share, and {root} that of the data; the seed and where the data lie are added to it."
)
MEANING = (
    "Scores are in %, but for losses, of test images unless said otherwise: the mean over seeds and its 95 % t-interval. "
    "Thresholds, epochs and hyperparameters come from validation images, except where a note says that a choice was made after "
    "test images were seen. Bars are what this codebase set out to reach with the data that there are: in some rows more than "
    "was reported, in others less. Seconds are those that training took beside whatever else the machine did."
)
SHORT = (
    "Short runs on bundled and generated data: they show that all of it works, and measure nothing. What was reported, the "
    "bars and the commands are those of the full runs."
)
COLUMNS = ("experiment", "reported", "measured", "bar", "training", "command")


def markdown(record: dict[str, Any]) -> str:
    """Return the table of a record, as ``results.record_of`` makes it."""
    lines = ["# The experiments, measured", "", *_about(record), ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    notes: list[str] = []
    lines += [_row(entry, notes) for entry in record["experiments"]]
    lines += [""] + [line for note in notes for line in (note, "")]
    if record["questions"]:
        lines += ["## Questions", ""]
        lines += [line for entry in record["questions"] for line in (f"**{entry['ask']}** {entry['answer']}", "")]
    failures = [(e["name"], seed, reason) for e in record["experiments"] for seed, reason in e["failures"].items()]
    if failures:
        lines += ["## Not finished", "", *(f"- {name}, seed {seed}: {_cell(why)}" for name, seed, why in failures), ""]
    lines += ["## Where it was measured", "", *_places(record)]
    return "\n".join(lines).rstrip() + "\n"


def _about(record: dict[str, Any]) -> list[str]:
    how = SHORT * record["fast"]
    return [
        f"Written by `{record['command']}`. {how}".strip(),
        "",
        f"{MEANING} {PLACES}",
    ]


def _row(entry: dict[str, Any], notes: list[str]) -> str:
    about = f"**{entry['name']}** {entry['about']}"
    if entry["notes"]:
        notes.append(f"[^{entry['name']}]: {entry['notes']}")
        about += f"[^{entry['name']}]"
    bar = ""
    if entry["bar"] is not None:
        bar = entry["bar"]["words"] + (f": {entry['verdict']}" if entry["verdict"] else "")
    cells = (about, entry["reported"], measured(entry), bar, took(entry), f"`{entry['command']}`")
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def measured(entry: dict[str, Any]) -> str:
    """Return a row's mean with its interval and how many seeds there are, and what score it is of."""
    mean, (low, high), num = entry["mean"], entry["interval"], len(entry["values"])
    if mean is None or math.isnan(mean):
        return "not measured"
    more = "".join(f"; {_named(name)} {_with_interval(*values)}" for name, values in entry["also"].items())
    collapsed = [seed for seed, one in entry["seeds"].items() if one["collapsed_at_steps"]]
    more += "; collapsed, and began again, with seed " * bool(collapsed) + ", ".join(collapsed)
    return f"{_with_interval(mean, low, high)} ({_named(entry['score'])}, {num} seed{'' if num == 1 else 's'}){more}"


def _with_interval(mean: float, low: float | None, high: float | None) -> str:
    return f"{mean:.2f}" + ("" if low is None or high is None or math.isnan(low) else f" ± {(high - low) / 2:.2f}")


def _named(score: str) -> str:
    return score.removeprefix("test/") if ":" not in score else score.rpartition(":")[2].rpartition(".")[2]


def took(entry: dict[str, Any]) -> str:
    """Return how long training took, from the fastest to the slowest seed."""
    seconds = [one["seconds"] for one in entry["seeds"].values() if one["seconds"] is not None]
    if not seconds:
        return ""
    least, most = min(seconds), max(seconds)
    return f"{least:.0f} s" if round(least) == round(most) else f"{least:.0f} to {most:.0f} s"


def where(entry: dict[str, Any]) -> list[str]:
    """Return the devices and commits that a row was measured by."""
    return list(dict.fromkeys(f"{one['device']}, {one['commit']}" for one in entry["seeds"].values()))


def headline(entry: dict[str, Any], command: str) -> str:
    """Return a row's figures as a comment for the head of a config with this command; nothing where there are none."""
    if not entry["seeds"]:
        return ""
    devices = dict.fromkeys(one["device"] for one in entry["seeds"].values())
    reported = f"; reported {entry['reported']}" * bool(entry["reported"])
    time = f"in {took(entry)} " * bool(took(entry))
    how = "" if entry["command"] == command else "by the command of "
    line = f"# trained {time}on {' or '.join(devices)}; {measured(entry)}{reported}; {how}row {entry['name']} of README.md"
    return " ".join(line.replace("±", "+-").split())


def row_of_config(path: Path, record: dict[str, Any], catalog: Catalog) -> dict[str, Any] | None:
    """Return the row whose figures stand in the head of a config, if there is one."""
    name = catalog.heads.get(path.stem, path.stem)
    return next((entry for entry in record["experiments"] if entry["name"] == name), None)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _places(record: dict[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {}
    for entry in record["experiments"]:
        for place in where(entry):
            found.setdefault(place, []).append(entry["name"])
    return [f"- {place}: {', '.join(names)}" for place, names in found.items()]
