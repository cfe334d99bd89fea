"""Of which class pictures are: one that the model was trained on, or one of which there are examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lab.apply.command import MAX_ROWS
from lab.apply.embed import pictures_in
from lab.apply.trained import NO_THRESHOLD, Trained
from lab.arguments import printable

Verdict = Literal["class", "none of these", "undecided"]


class Guess(NamedTuple):
    """A class; how probable it is, or that the picture is the same; and its distance, where the model gives one."""

    name: str
    probability: float | None
    distance: float | None = None

    def number(self) -> str:
        """Return the distance, where there is one, or the probability, as it is printed."""
        return _percent(self.probability) if self.distance is None else f"{self.distance:.3g}"


@dataclass(frozen=True)
class Prediction:
    """What one picture is; ``guesses`` are the best classes, the best first."""

    file: str
    verdict: Verdict
    guesses: list[Guess]

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        top = [{"class": name, "probability": p} | ({} if d is None else {"distance": d}) for name, p, d in self.guesses]
        best = top[0] if self.verdict == "class" else top[0] | {"class": None}
        return {"file": self.file, "verdict": self.verdict, **best, "top": top}


@dataclass(frozen=True)
class Predictions:
    """What pictures are, and the threshold above which one is none of the classes, if the model has one."""

    checkpoint: Path
    one_shot: bool
    threshold: float | None
    predictions: list[Prediction]

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        predictions = [prediction.record() for prediction in self.predictions]
        return {"checkpoint": str(self.checkpoint), "threshold": self.threshold, "predictions": predictions}

    def show(self, console: Console) -> None:
        """Print a table with a line for each picture."""
        table = Table(title="nearest examples" if self.one_shot else "most probable classes", title_justify="left")
        table.add_column("file", overflow="fold", ratio=2)
        table.add_column("class", overflow="fold")
        for name in ["p(same)" if self.one_shot else "probability", *(["distance"] if self.one_shot else [])]:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("next", overflow="fold", ratio=2)
        for prediction in self.predictions[:MAX_ROWS]:
            best, *others = prediction.guesses
            numbers = [_percent(best.probability), *([f"{best.distance:.4f}"] if self.one_shot else [])]
            told = prediction.verdict == "class"
            further = ", ".join(f"{guess.name} ({guess.number()})" for guess in (others if told else prediction.guesses))
            called = best.name if told else prediction.verdict
            table.add_row(printable(prediction.file), printable(called), *numbers, printable(further))
        console.print(table)
        if len(self.predictions) > MAX_ROWS:
            console.print(f"the first {MAX_ROWS} of {len(self.predictions):,} pictures; --json has them all")
        if self.one_shot and self.threshold is not None:
            console.print(
                f"none of these: the nearest class is further than {self.threshold:.4g}; p(same): that it is the nearest "
                "class, where half of all pairs are of one class",
                soft_wrap=True,
            )
        elif self.one_shot:
            console.print(f"{self.checkpoint} {NO_THRESHOLD}", soft_wrap=True)


def _percent(probability: float | None) -> str:
    return "-" if probability is None else f"{probability:.1%}"


def predict(trained: Trained, files: Sequence[str], num: int) -> Predictions:
    """Tell pictures by the classes that a model was trained on.

    Args:
        trained: a classifier.
        files: the pictures.
        num: classes to name of each, at most.

    Raises:
        ValueError: if the model knows no classes, or a picture cannot be read, naming it.
    """
    if not trained.classifies:
        raise ValueError(
            f"{trained.path} is a {trained.family}, which compares pictures: show it examples of the classes, one folder a "
            "class, by --examples FOLDER"
        )
    probabilities = trained.classify([Path(file) for file in files])
    best, labels = probabilities.sort(dim=1, descending=True, stable=True)
    predictions = []
    for file, values, chosen in zip(files, best[:, :num].tolist(), labels[:, :num].tolist(), strict=True):
        guesses = [Guess(trained.name_of(label), value) for value, label in zip(values, chosen, strict=True)]
        predictions.append(Prediction(file, "class", guesses))
    return Predictions(trained.path, False, None, predictions)


def recognise(trained: Trained, files: Sequence[str], examples: Path, num: int) -> Predictions:
    """Tell pictures by one or a few examples of each class, as ``one_shot_accuracy`` is measured.

    The examples of a class are one by the mean of their embeddings, or, where the distance is learned or has two views, by the
    mean of their distances; they are the first of each pair then.

    Args:
        trained: a model that compares pictures.
        files: the pictures.
        examples: a folder with one folder a class.
        num: classes to name of each picture, at most.

    Raises:
        ValueError: if the model knows classes of its own, or a picture cannot be read, naming it.
    """
    if trained.classifies:
        raise ValueError(f"{trained.path} is a {trained.family}, which knows its classes: leave --examples out")
    by_class = examples_in(examples)
    queries = trained.embed([Path(file) for file in files])
    shown = trained.embed([path for paths in by_class.values() for path in paths])
    groups = list(shown.split([len(paths) for paths in by_class.values()]))
    told = trained.threshold == trained.threshold
    predictions = []
    for file, distances in zip(files, class_distances(trained, groups, queries), strict=True):
        nearest = distances.sort(stable=True).indices
        judged = trained.judge(distances[nearest])
        columns = zip(nearest[:num].tolist(), judged.probability.tolist(), judged.distances.tolist(), strict=False)
        guesses = [Guess(list(by_class)[place], p if told else None, distance) for place, p, distance in columns]
        predictions.append(Prediction(file, _verdict(judged.distances, trained.threshold), guesses))
    return Predictions(trained.path, True, trained.threshold if told else None, predictions)


def class_distances(trained: Trained, groups: list[Tensor], queries: Tensor) -> Tensor:
    """Return the distances (Q, C) of queries (Q, D) to the examples (n, D) of each of C classes."""
    if trained.metrics.search is not None:
        groups = [group.mean(0, keepdim=True) for group in groups]
    shown, sizes = torch.cat(groups), [len(group) for group in groups]
    rows = [trained.distances(shown, query.expand(len(shown), -1)).split(sizes) for query in queries]
    return torch.stack([torch.stack([part.mean() for part in row]) for row in rows])


def _verdict(distances: Tensor, threshold: float) -> Verdict:
    """Say what follows of the distances of all classes (C,), ascending; equal ones may differ by how they were rounded."""
    if distances[0] > threshold:
        return "none of these"
    tied = len(distances) > 1 and torch.isclose(distances[0], distances[1], rtol=1e-6, atol=1e-6)
    return "undecided" if tied else "class"


def examples_in(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures in each class folder of a folder, and below it, by the name of the class.

    Raises:
        ValueError: if a picture lies in no class folder, or a class has no pictures.
    """
    by_class: dict[str, list[Path]] = {}
    for path in pictures_in(folder):
        name, *rest = path.relative_to(folder).parts
        if not rest:
            raise ValueError(f"{path} lies in no class folder: put the examples of each class into a folder of its name")
        by_class.setdefault(name, []).append(path)
    for inside in sorted(folder.iterdir()):
        if inside.is_dir() and inside.name not in by_class and not inside.name.startswith("."):
            raise ValueError(f"{inside} has no pictures in it: give an example of that class, or remove the folder")
    return by_class
