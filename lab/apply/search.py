"""The pictures of an index that are nearest to a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lab import plots
from lab.apply.index import Index
from lab.apply.reading import read_one
from lab.apply.trained import Trained
from lab.arguments import printable
from lab.writing import whole_file

MAX_SHOWN = 12  # in the picture


@dataclass(frozen=True)
class Hit:
    """One picture that was found; ``same`` and ``probability`` are None where the model has no threshold."""

    distance: float
    same: bool | None
    probability: float | None
    file: str
    label: str | None
    path: str
    is_query: bool
    is_missing: bool


@dataclass(frozen=True)
class Found:
    """The nearest pictures, the nearest first, and where they are shown."""

    query: Path
    index: Path
    num_searched: int
    threshold: float
    hits: list[Hit]
    picture: Path

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        hits = [{"rank": rank, **vars(hit)} for rank, hit in enumerate(self.hits, start=1)]
        named = {"query": str(self.query), "index": str(self.index), "picture": str(self.picture)}
        return {**named, "searched": self.num_searched, "threshold": self.threshold, "hits": hits}

    def show(self, console: Console) -> None:
        """Print a table of what was found."""
        told = self.threshold == self.threshold
        title = f"of {self.num_searched:,} pictures, the nearest to {printable(str(self.query))}"
        table = Table(title=title, title_justify="left")
        for name in ("rank", "distance", *(["same?", "p(same)"] if told else [])):
            table.add_column(name, justify="left" if name == "same?" else "right", no_wrap=True)
        table.add_column("label", overflow="fold")
        table.add_column("file", overflow="fold")
        for rank, hit in enumerate(self.hits, start=1):
            judged = ["yes" if hit.same else "no", f"{hit.probability:.1%}"] if told else []
            file = printable(hit.file) + " (the query itself)" * hit.is_query + " (no longer there)" * hit.is_missing
            table.add_row(str(rank), f"{hit.distance:.4f}", *judged, printable(hit.label or "-"), file)
        console.print(table)
        console.print(
            f"same: up to a distance of {self.threshold:.4g}; p(same): how probable that is, where half of all pairs are"
            if told
            else "the model was never validated, so it has no threshold to call pictures the same by",
            soft_wrap=True,
        )
        console.print(f"picture: {self.picture}", soft_wrap=True)


def search(trained: Trained, index: Index, query: Path, num: int | None, output: Path) -> Found:
    """Find the pictures nearest to one by the model's own distance; of equally near ones, the first of the index first.

    Args:
        trained: the model that made the index.
        index: what is searched.
        query: a picture, the first of each pair where the model tells first and second apart.
        num: how many to find; None for 10, or as many as there are.
        output: the PNG file to show them in.

    Raises:
        ValueError: if the index is another model's or smaller than ``num``, the picture cannot be read or the file written.
    """
    index.check_made_by(trained)
    num = min(10, index.shape[0]) if num is None else num
    if num > index.shape[0]:
        raise ValueError(f"-k {num} is more than the {index.shape[0]} pictures of {index.path}")
    _check_overwrites_nothing(output, query, index)
    with whole_file(output, ".png") as unfinished:
        embedding = trained.embed([query])[0]
        if len(embedding) != index.shape[1]:
            raise ValueError(f"{index.path} has embeddings of another length than those of {trained.path}: make it again")
        distances = index.distances_from(trained, embedding)
        positions = distances.sort(stable=True).indices[:num]
        hits = _describe(trained, index, query, positions, distances[positions])
        found = Found(query, index.path, index.shape[0], trained.threshold, hits, output)
        unfinished.write_bytes(_picture(trained, found))
    return found


def _check_overwrites_nothing(output: Path, query: Path, index: Index) -> None:
    written, folder = output.resolve(), Path(index.contents.folder)
    inside = written.relative_to(folder).as_posix() if written.is_relative_to(folder) else None
    if written == query.resolve() or inside in set(index.contents.files):
        raise ValueError(f"{output} is one of the pictures: name another file to write, -o result.png")


def _describe(trained: Trained, index: Index, query: Path, positions: Tensor, distances: Tensor) -> list[Hit]:
    told = trained.threshold == trained.threshold
    judged = trained.judge(distances)
    hits = []
    for position, *values in zip(positions.tolist(), *(column.tolist() for column in judged), strict=True):
        path = index.path_of(position)
        distance, same, probability = values if told else (values[0], None, None)
        file, label = index.contents.files[position], index.contents.labels[position]
        is_query = path.resolve() == query.resolve()
        hits.append(Hit(distance, same, probability, file, label, str(path), is_query, not path.is_file()))
    return hits


def _picture(trained: Trained, found: Found) -> bytes:
    """Return what was found as a PNG picture, in which a picture that can no longer be read is grey."""

    def seen(path: Path, must: bool) -> Tensor:
        try:
            return read_one(path, trained.preparation.read) / 255
        except ValueError:
            if must:
                raise
            return torch.full(trained.preparation.image_shape, 0.5)

    shown = found.hits[:MAX_SHOWN]
    captions = [f"{hit.distance:.3f}, " + ("the query" if hit.is_query else hit.label or Path(hit.file).name) for hit in shown]
    told = found.threshold == found.threshold
    meaning = f"✓ up to {found.threshold:.3g}, called the same" if told else "there is no threshold to call any the same by"
    figure = plots.query_rows(
        seen(found.query, True)[None],
        torch.stack([seen(Path(hit.path), False) for hit in shown])[None],
        [found.query.name],
        [captions],
        [[bool(hit.same) for hit in shown]] if told else None,
        f"By {trained.path.name}",
        summary=f"the {len(shown)} nearest of {found.num_searched:,} pictures; {meaning}",
        max_neighbors=MAX_SHOWN,
    )
    return plots.png_bytes(figure)
