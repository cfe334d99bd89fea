"""The embeddings of all pictures in a folder, in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from lab.apply.index import Contents, write_index
from lab.apply.trained import Trained
from lab.arguments import printable
from lab.data.layout import NOT_READ, list_files
from lab.data.pictures import ENDINGS
from lab.writing import whole_file


@dataclass(frozen=True)
class Embedded:
    """What was written, and which pictures were left out, with the reason."""

    index: Path
    num_embedded: int
    embedding_size: int
    num_labels: int
    skipped: list[str]

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        counts = {"embedded": self.num_embedded, "embedding_size": self.embedding_size, "labels": self.num_labels}
        return {"index": str(self.index), **counts, "skipped": self.skipped}

    def show(self, console: Console) -> None:
        """Print where the index is and what to type next."""
        skipped = f", {len(self.skipped):,} skipped" if self.skipped else ""
        pictures = "1 picture" if self.num_embedded == 1 else f"{self.num_embedded:,} pictures"
        folders = f" in {self.num_labels:,} labelled folder{'s' * (self.num_labels != 1)}" if self.num_labels else ""
        console.print(
            f"{pictures}{folders} embedded as {self.embedding_size} numbers each{skipped}: {self.index}", soft_wrap=True
        )
        console.print(f"next: python scripts/search.py CKPT {self.index} query.png", soft_wrap=True)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder and below, sorted; what is hidden is left out.

    Raises:
        ValueError: if it is no folder, or there are none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    endings = ENDINGS | NOT_READ  # these too, as broken ones: to leave them out unsaid would mislead
    pictures = sorted(path for path in list_files(folder) if path.suffix.lower() in endings)
    if not pictures:
        raise ValueError(f"{folder} has no pictures in it: no file ends in {', '.join(sorted(ENDINGS))}")
    return pictures


@dataclass(frozen=True)
class EmbeddedFolder:
    """The pictures in a folder and below that could be read.

    Args:
        folder: where they are.
        files: the path of each from there, with /.
        embeddings: float32 (N, D).
        skipped: what is wrong with each of the others.
    """

    folder: Path
    files: list[str]
    embeddings: Tensor
    skipped: list[str]


def embed_folder(trained: Trained, folder: Path) -> EmbeddedFolder:
    """Embed all pictures in a folder and below; one that cannot be read is named on the standard error and left out.

    Raises:
        ValueError: if the model has no embeddings, or no picture can be read.
    """
    _ = trained.metrics
    paths = pictures_in(folder)
    parts: list[Tensor] = []
    files: list[str] = []
    skipped: list[str] = []
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("embedding", total=len(paths))
        if not console.is_terminal:
            console.print(f"embedding {len(paths):,} pictures of {folder}")
        for batch, outputs in trained.batches(paths):
            if batch.positions:
                parts.append(outputs)
            files += [paths[position].relative_to(folder).as_posix() for position in batch.positions]
            for complaint in batch.broken.values():
                skipped.append(complaint)
                console.print(f"warning: {printable(complaint)}; skipped")
            bar.advance(task, len(batch.positions) + len(batch.broken))
    if not parts:
        raise ValueError(f"none of the {len(paths)} pictures in {folder} can be read, such as: {skipped[0]}")
    return EmbeddedFolder(folder, files, torch.cat(parts), skipped)


def write_embedded(trained: Trained, folder: Path, output: Path) -> Embedded:
    """Embed a folder into an index, which is written whole or not at all.

    Raises:
        ValueError: as ``embed_folder`` does, and if the index cannot be written.
    """
    with whole_file(output, ".safetensors") as unfinished:
        embedded = embed_folder(trained, folder)
        contents = Contents.of(trained, folder, embedded.files)
        write_index(unfinished, embedded.embeddings, contents)
    num_labels = len({label for label in contents.labels if label is not None})
    return Embedded(output, len(embedded.files), embedded.embeddings.shape[1], num_labels, embedded.skipped)
