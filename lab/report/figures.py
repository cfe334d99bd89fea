"""The figures of a page: those that a run left, and those drawn now."""

from dataclasses import dataclass
from pathlib import Path

from lab import plots
from lab.report.compare import Group
from lab.report.pictures import Embedded, embed
from lab.report.run import Run
from lab.report.words import CAPTIONS, caption, meaning

MOST_CURVES = 8


@dataclass(frozen=True)
class Figure:
    """A picture with all that is said of it; where it cannot be shown, why."""

    name: str
    section: str
    title: str
    words: str
    alt: str
    picture: Embedded | None
    problem: str = ""


def figures_of(run: Run, label: str, num_runs: int) -> list[Figure]:
    """Embed the pictures of a run, in the order of a page; learning curves are drawn where the run left none."""
    sources: dict[str, bytes | Path] = {path.stem: path for path in run.pictures}
    if "learning_curves" not in sources and run.history:
        best = run.record.get("best_epoch")
        figure = plots.learning_curves(run.history, best if isinstance(best, int) else None)
        sources["learning_curves"] = plots.png_bytes(figure)
    order = {name: place for place, name in enumerate(CAPTIONS)}
    ordered = sorted(sources, key=lambda name: (order.get(name, len(order)), name))
    figures = []
    for name, picture in embed({name: sources[name] for name in ordered}, num_runs).items():
        said = caption(name)
        alt = f"{said.title} of {label}. {said.words}"
        shown, problem = (None, picture) if isinstance(picture, str) else (picture, "")
        figures.append(Figure(name, said.section, said.title, said.words, alt, shown, problem))
    return figures


def compared_curves(runs: dict[str, Run]) -> list[Figure]:
    """Draw the curves of several runs over each other, of the scores that at least two of them have."""
    having = [name for run in runs.values() for name in run.history]
    names = sorted({name for name in having if having.count(name) > 1}, key=lambda name: (name.startswith("train/"), name))
    histories = {label: run.history for label, run in runs.items() if run.history}
    pictures = {name: plots.png_bytes(plots.compare_curves(histories, name)) for name in names[:MOST_CURVES]}
    words = "One line a run. Validation scores decide which epoch is tested."
    return [_drawn(name, name, words, f"Curves of {name} over the epochs, of {', '.join(histories)}.", picture)
            for name, picture in embed(dict(pictures)).items()]  # fmt: skip


def compared_scores(groups: list[Group], names: list[str]) -> list[Figure]:
    """Draw each score of several groups as dots with intervals."""
    pictures: dict[str, bytes | Path] = {}
    told = {}
    for name in names:
        every = {group.label: group.score(name) for group in groups}
        scores = {label: score for label, score in every.items() if score[0] == score[0]}
        pictures[name] = plots.png_bytes(plots.score_comparison(scores, name))
        told[name] = "; ".join(f"{label} {score:.4f}" for label, (score, _, _) in scores.items())
    return [
        _drawn(name, name, meaning(name).words or "A score of this run's own.", f"{name}: {told[name]}.", picture)
        for name, picture in embed(pictures).items()
    ]


def _drawn(name: str, title: str, words: str, alt: str, picture: Embedded | str) -> Figure:
    shown, problem = (None, picture) if isinstance(picture, str) else (picture, "")
    return Figure(name, "", title, words[:1].upper() + words[1:] + "." * (not words.endswith(".")), alt, shown, problem)
