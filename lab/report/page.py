"""The page: what is known of runs, put into templates, in which all text from files is escaped."""

import math
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab.report.commands import commands_of
from lab.report.compare import best_of, differing_settings, doubts, groups_of, labels_of, same_test_images
from lab.report.figures import compared_curves, compared_scores, figures_of
from lab.report.run import Run
from lab.report.words import HEADLINES, NUM_HEADLINES, SECTIONS, meaning

TEMPLATES = Path(__file__).parent / "templates"
COLUMNS = 5  # of a table of several runs, so that it fits on paper; more make another table


def page_of(runs: list[Run]) -> str:
    """Return the page of one run, or of several compared."""
    environment = environment_of()
    labels = labels_of(runs)
    parts = [_part(run, label, place, len(runs)) for place, (label, run) in enumerate(labels.items())]
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    if len(runs) == 1:
        return environment.get_template("run.html").render(style=style, run=parts[0], title=parts[0]["title"])
    title = f"Comparison of {len(runs)} runs"
    return environment.get_template("comparison.html").render(style=style, parts=parts, title=title, **_comparison(labels))


def environment_of(*folders: Path) -> Environment:
    """Return what renders the templates of reports, and those in other folders, which come first."""
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "interval": _interval, "seconds": _seconds}
    return environment


def _part(run: Run, label: str, place: int, num_runs: int) -> dict[str, Any]:
    """Return what the page says of one run."""
    figures = figures_of(run, label, num_runs)
    sections = []
    for key, section in SECTIONS.items():
        inside = [figure for figure in figures if figure.section == key]
        missing = "" if key == "training" and run.is_test_only else section.missing
        if inside or missing:
            sections.append({"key": key, "title": section.title, "missing": missing, "figures": inside})
    rows = [(name, score, run.intervals.get(name), meaning(name)) for name, score in sorted(run.scores.items(), key=_rank)]
    return {
        "key": f"run-{place + 1}",
        "label": label,
        "title": f"{run.family} on {run.data}",
        "run": run,
        "state": _state(run),
        "facts": _facts(run),
        "headlines": [row for row in rows if row[0].removeprefix("test/") in HEADLINES][:NUM_HEADLINES],
        "scores": rows,
        "sections": sections,
        "curves": _table_of_curves(run),
        "environment": _environment(run),
        "commands": commands_of(run),
    }


def _state(run: Run) -> str:
    """Say what kind of run this is, where it is not a whole one."""
    if run.is_test_only:
        return "A test only: a checkpoint of another run was scored, and nothing was trained."
    if not run.record:
        epochs = max((epochs[-1] for epochs, _ in run.history.values()), default=0)
        after = f" after epoch {epochs:g}" if epochs else " before its first epoch was over"
        return f"Not finished: there is no metrics.json with test scores, as it was interrupted{after}, or still runs."
    return "" if run.scores else "metrics.json holds no test scores."


def _facts(run: Run) -> dict[str, str]:
    """Return the few facts that head a run."""
    seconds, record = run.seconds, run.record
    best = record.get("best_score")
    chosen = f", chosen at epoch {record['best_epoch']}" if record.get("best_epoch") else ""
    by = "".join(f" by {name} {_number(value)}" for name, value in best.items()) if chosen and isinstance(best, dict) else ""
    facts = {
        "date": run.changed.strftime("%d %B %Y, %H:%M"),
        "network": run.network,
        "configuration": str(run.config.get("name") or run.folder.resolve().parent.name),
        "epochs": f"{record['epochs']}{chosen}{by}" if "epochs" in record else "",
        "seed": "" if run.seed is None else str(run.seed),
        "training": _seconds(seconds.get("fit", math.nan)),
        "test": _seconds(seconds.get("test", math.nan)),
        "resumed from": str(record.get("resumed_from") or ""),
        "collapsed at step": ", ".join(map(str, record.get("collapsed_at_steps") or [])),
        "folder": str(run.folder),
    }
    return {name: value for name, value in facts.items() if value}


def _environment(run: Run) -> dict[str, str]:
    """Return what a run was made with."""
    versions = run.record.get("versions")
    facts = {str(name): str(version) for name, version in versions.items()} if isinstance(versions, dict) else {}
    if run.record.get("threads"):
        facts["threads"] = str(run.record["threads"])
    if run.record.get("commit"):
        changes = ", with uncommitted changes" if run.record.get("uncommitted_changes") else ", without uncommitted changes"
        facts["commit"] = f"{run.record['commit']}{changes}"
    return facts


def _table_of_curves(run: Run) -> dict[str, Any]:
    """Return the scores by epoch as rows."""
    by_epoch: dict[float, dict[str, float]] = {}
    for name, (epochs, values) in run.history.items():
        for epoch, value in zip(epochs, values, strict=True):
            by_epoch.setdefault(epoch, {})[name] = value
    return {"names": list(run.history), "rows": sorted(by_epoch.items())}


def _comparison(runs: dict[str, Run]) -> dict[str, Any]:
    """Return what is said of several runs together."""
    groups = groups_of(runs)
    names = dict.fromkeys(name for run in runs.values() for name in run.scores)
    fair = same_test_images(runs)
    scores = []
    for name in sorted(names, key=lambda name: _rank((name, 0.0))):
        best = best_of(groups, name) if fair else [False] * len(groups)
        scores.append((name, meaning(name), [(*group.score(name), mark) for group, mark in zip(groups, best, strict=True)]))
    comparable = [(name, row) for name, said, row in scores if said.better or not said.words]
    shared = [name for name, row in comparable if sum(not math.isnan(cell[0]) for cell in row) > 1]
    large = [name for name in shared if name.removeprefix("test/") in HEADLINES]
    dots = compared_scores(groups, [*large, *(name for name in shared if name not in large)])
    return {
        "groups": groups,
        "of_group": {label: place for place, group in enumerate(groups) for label in (*group.runs, *group.left_out)},
        "scores": scores,
        "fair": fair,
        "settings": differing_settings(runs),
        "doubts": doubts(runs),
        "curves": compared_curves(runs),
        "dots": dots[: len(large)],
        "more_dots": dots[len(large) :],
        "blocks": lambda count: [range(start, min(start + COLUMNS, count)) for start in range(0, count, COLUMNS)],
    }


def _rank(item: tuple[str, float]) -> tuple[int, str]:
    """Order scores: those that tell most first; numbers in names as numbers."""
    name = item[0].removeprefix("test/")
    by_number = re.sub(r"\d+", lambda digits: digits[0].zfill(6), name)
    return (HEADLINES.index(name) if name in HEADLINES else len(HEADLINES) + (name == "loss"), by_number)


def _number(value: Any) -> str:
    try:
        return "not defined" if math.isnan(float(value)) else f"{float(value):.4f}"
    except (TypeError, ValueError):
        return str(value)


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None or any(math.isnan(end) for end in ends) else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _seconds(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.1f} s" if value < 120 else f"{int(value // 60)} min {value % 60:.0f} s"
