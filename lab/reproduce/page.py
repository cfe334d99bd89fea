"""The table as a page for a browser, with the pictures of each experiment's first run."""

from pathlib import Path
from typing import Any

from lab import plots
from lab.report.figures import Figure
from lab.report.page import TEMPLATES, environment_of
from lab.report.pictures import Embedded, embed
from lab.report.words import caption
from lab.reproduce.experiment import PLACE
from lab.reproduce.markdown import MEANING, PLACES, SHORT, measured, took, where
from lab.reproduce.results import Result

OWN_TEMPLATES = Path(__file__).parent / "templates"


def page_of(record: dict[str, Any], results: dict[str, Result]) -> str:
    """Return the page of a record, as ``results.record_of`` makes it, and of the results that it was made of."""
    shown = {name: result for name, result in results.items() if result.runs}
    rows = [
        {
            **entry,
            "measured": measured(entry),
            "took": took(entry),
            "where": where(entry),
            "figures": _figures(results[entry["name"]], len(shown)),
        }
        for entry in record["experiments"]
    ]
    questions = [{**entry, "figures": _curves(entry, results) if entry["curve"] else []} for entry in record["questions"]]
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = environment_of(OWN_TEMPLATES).get_template("reproduced.html")
    return page.render(style=style, title="The experiments, measured", record=record, rows=rows, questions=questions,
                       meaning=MEANING, places=PLACES, short=SHORT)  # fmt: skip


def _figures(result: Result, num_runs: int) -> list[Figure]:
    """Return the pictures of the first seed's run that the experiment shows."""
    if not result.runs:
        return []
    seed, run = next(iter(result.runs.items()))
    wanted: dict[str, bytes | Path] = {}
    for name in result.experiment.pictures:
        path = _path(name, {"run": run.folder, "shared": result.shared})
        if path.is_file():
            wanted[path.stem] = path
    return [
        _drawn(name, picture, f"{result.experiment.name}, seed {seed}") for name, picture in embed(wanted, num_runs).items()
    ]


def _path(name: str, places: dict[str, Path | None]) -> Path:
    if "{" not in name:
        return Path(f"{places['run']}/pictures/{name}.png")
    return Path(PLACE.sub(lambda place: str(places[place[1]]), name))


def _curves(entry: dict[str, Any], results: dict[str, Result]) -> list[Figure]:
    """Draw the curves that answer a question."""
    histories = {f"{name}, seed {seed}": run.history for name in entry["compare"] for seed, run in results[name].runs.items()}
    png = plots.png_bytes(plots.compare_curves(histories, entry["curve"]))
    words = "One line a run, by epoch."
    return [_figure(name, entry["curve"], words, picture) for name, picture in embed({"curves": png}).items()]


def _drawn(name: str, picture: Embedded | str, of: str) -> Figure:
    said = caption(name)
    return _figure(name, said.title, said.words, picture, f" of {of}")


def _figure(name: str, title: str, words: str, picture: Embedded | str, of: str = "") -> Figure:
    shown, problem = (None, picture) if isinstance(picture, str) else (picture, "")
    return Figure(name, "", title, words, f"{title}{of}. {words}", shown, problem)
