"""Pictures of a folder, embedded once, among which look-alikes are found."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lab.apply.embed import pictures_in

SHOWN_EVERY = 50


class Embedder(Protocol):
    """What embeds and compares pictures."""

    def read(self, path: Path) -> Tensor:
        """Return the picture in a file as the network sees it."""

    def embed(self, images: list[Tensor]) -> Tensor:
        """Return embeddings of images."""

    def distances(self, first: Tensor, second: Tensor) -> Tensor:
        """Return distances of embeddings to those beside them."""


class Found(NamedTuple):
    """A picture of the gallery: its name below the folder, its file, its distance."""

    name: str
    path: Path
    distance: float


@dataclass(frozen=True)
class Gallery:
    """The pictures of a folder.

    Args:
        folder: where they are; names: their paths below it.
        embeddings: (N, D).
        num_skipped: how many could not be read.
    """

    folder: Path
    names: list[str]
    embeddings: Tensor
    num_skipped: int

    @classmethod
    def embed(cls, folder: Path, model: Embedder) -> "Gallery":
        """Embed all pictures in a folder and below; one that cannot be read is left out, which is said.

        Raises:
            ValueError: if there is none that can be read.
        """
        files = pictures_in(folder)
        names, embeddings, images = [], [], []
        for number, file in enumerate(files, start=1):
            try:
                images.append(model.read(file))
                names.append(file.relative_to(folder).as_posix())
            except ValueError as error:
                print(f"left out: {error}", file=sys.stderr)
            if number % SHOWN_EVERY == 0 or number == len(files):
                if images:
                    embeddings.append(model.embed(images))
                images = []
                print(f"gallery: {number:,} of {len(files):,} pictures embedded", file=sys.stderr, flush=True)
        if not embeddings:
            raise ValueError(f"--gallery {folder} has no picture that can be read")
        return cls(folder, names, torch.cat(embeddings), len(files) - len(names))

    def nearest(self, image: Tensor, model: Embedder, num: int) -> list[Found]:
        """Return the pictures nearest to an image, nearest first."""
        query = model.embed([image]).expand_as(self.embeddings)
        distances = model.distances(query, self.embeddings)
        places = distances.argsort(stable=True)[:num].tolist()
        return [Found(self.names[place], self.folder / self.names[place], distances[place].item()) for place in places]
