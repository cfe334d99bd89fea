"""Which pairs of pictures are of one class."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.apply.command import MAX_ROWS
from lab.apply.trained import Comparison, Trained
from lab.arguments import printable


@dataclass(frozen=True)
class Pair:
    """Two pictures, by the names that the user gave them, where they are, and whether they are of one class, if it was said."""

    names: tuple[str, str]
    paths: tuple[Path, Path]
    same: bool | None = None
    place: str = ""  # in the table, before what is wrong with them


def pairs_of(pictures: Sequence[str]) -> list[Pair]:
    """Return pairs of pictures that are named one after the other.

    Raises:
        ValueError: if one is left over.
    """
    if len(pictures) % 2 or not pictures:
        raise ValueError(f"pictures are compared in pairs, and there {'is' if len(pictures) == 1 else 'are'} {len(pictures)}")
    pairs = zip(pictures[::2], pictures[1::2], strict=True)
    return [Pair(pair, (Path(pair[0]), Path(pair[1]))) for pair in pairs]


def read_pairs(table: Path) -> list[Pair]:
    """Read pairs from a CSV file with the columns ``first`` and ``second``, as paths from its folder, and perhaps ``same``.

    Raises:
        ValueError: naming the file, and the line that is not as it should be.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            names = file.readline()
            delimiter = max(",;\t", key=names.count)  # as spreadsheets write it in different countries
            columns = [name.strip().lower() for name in next(csv.reader([names], delimiter=delimiter), [])]
            rows = csv.DictReader(file, columns, delimiter=delimiter)
            missing = [name for name in ("first", "second") if name not in columns]
            if missing:
                found = ",".join(columns) or "empty"
                raise ValueError(
                    f"{table} has no column {missing[0]}: its first line must be first,second or first,second,same, and is "
                    f"{found}"
                )
            pairs = [_pair(row, table, rows.line_num + 1, "same" in columns) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is not a CSV file in UTF-8: {error}") from error
    if not pairs:
        raise ValueError(f"{table} has no pairs in it")
    return pairs


def _pair(row: dict[str, str | None], table: Path, line: int, told: bool) -> Pair:
    names = tuple((row[name] or "").strip() for name in ("first", "second"))
    if not all(names):
        raise ValueError(f"{table}:{line} does not name two pictures")
    same = (row["same"] or "").strip() if told else None
    if same not in ("0", "1", None):
        raise ValueError(f"{table}:{line}: same must be 1, for pictures of one class, or 0, not {same!r}")
    return Pair(
        (names[0], names[1]),
        (table.parent / names[0], table.parent / names[1]),
        None if same is None else same == "1",
        f"{table}:{line}: ",
    )


@dataclass(frozen=True)
class Verification:
    """What a model says of pairs, and how often it is right where that is known."""

    checkpoint: Path
    threshold: float
    pairs: list[Pair]
    comparison: Comparison

    def counts(self) -> dict[str, int] | None:
        """Return how many pairs there are and how many of these are told wrongly; None where the truth is not known."""
        truth = [pair.same for pair in self.pairs]
        if None in truth:
            return None
        told = list(zip(truth, self.comparison.same.tolist(), strict=True))
        return {
            "right": sum(is_same == called_same for is_same, called_same in told),
            "pairs": len(told),
            "false_matches": told.count((False, True)),
            "different": truth.count(False),
            "false_non_matches": told.count((True, False)),
            "same": truth.count(True),
        }

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        columns = [column.tolist() for column in self.comparison]
        pairs = [
            {"first": p.names[0], "second": p.names[1], "distance": distance, "same": same, "probability": probability}
            | ({} if p.same is None else {"truth": p.same})
            for p, distance, same, probability in zip(self.pairs, *columns, strict=True)
        ]
        counts = self.counts()
        scores = {} if counts is None else {"counts": counts, **_rates(counts)}
        return {"checkpoint": str(self.checkpoint), "threshold": self.threshold, "pairs": pairs, **scores}

    def show(self, console: Console) -> None:
        """Print a table of the pairs, and the rates."""
        counts = self.counts()
        table = Table(title=f"called the same up to a distance of {self.threshold:.4g}", title_justify="left")
        for name in ("first", "second"):
            table.add_column(name, overflow="fold")
        for name in ("distance", "verdict", "p(same)", *(["right"] if counts else [])):
            table.add_column(name, justify="left" if name in ("verdict", "right") else "right", no_wrap=True)
        columns = [column.tolist() for column in self.comparison]
        for pair, distance, same, probability in zip(self.pairs[:MAX_ROWS], *(c[:MAX_ROWS] for c in columns), strict=True):
            verdict = "same" if same else "different"
            right = ["yes" if pair.same == same else "NO"] if counts else []
            names = (printable(name) for name in pair.names)
            table.add_row(*names, f"{distance:.4f}", verdict, f"{probability:.1%}", *right)
        console.print(table)
        if len(self.pairs) > MAX_ROWS:
            console.print(f"the first {MAX_ROWS} of {len(self.pairs):,} pairs; --json has them all")
        console.print(
            "p(same): how probable it is that both pictures are of one class, where half of all pairs are, as fitted on "
            "validation pairs; the verdict is by the threshold alone, which another operating point may put elsewhere",
            soft_wrap=True,
        )
        if counts:
            console.print(f"right: {counts['right']} of {counts['pairs']} ({counts['right'] / counts['pairs']:.1%})")
            for name, of in (("false_matches", "different"), ("false_non_matches", "same")):
                rate = f" ({counts[name] / counts[of]:.1%})" if counts[of] else ""
                console.print(
                    f"{name.replace('_', ' ').replace('non ', 'non-')}: {counts[name]} of {counts[of]} {of} pairs{rate}"
                )


def _rates(counts: dict[str, int]) -> dict[str, float | None]:
    return {
        "accuracy": counts["right"] / counts["pairs"],
        "false_match_rate": counts["false_matches"] / counts["different"] if counts["different"] else None,
        "false_non_match_rate": counts["false_non_matches"] / counts["same"] if counts["same"] else None,
    }


def verify(trained: Trained, pairs: Sequence[Pair]) -> Verification:
    """Say which pairs are of one class; a picture is embedded once, however many pairs it is in.

    Raises:
        ValueError: if the model compares no pictures or has no threshold, or a picture cannot be read, naming it.
    """
    trained.check_threshold()
    places: dict[Path, int] = {}
    for path in (path for pair in pairs for path in pair.paths):
        places.setdefault(path, len(places))
    try:
        embeddings = trained.embed(list(places))
    except ValueError as error:
        place = next((pair.place for pair in pairs if any(str(error).startswith(f"{path} ") for path in pair.paths)), "")
        raise ValueError(f"{place}{error}") from error
    first, second = (embeddings[[places[pair.paths[side]] for pair in pairs]] for side in (0, 1))
    return Verification(trained.path, trained.threshold, list(pairs), trained.compare(first, second))
