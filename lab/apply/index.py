"""The embeddings of a folder of pictures in one file, and what they were made by."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import lab
from lab.apply.trained import MAX_CHUNK_ELEMENTS, Trained


@dataclass(frozen=True)
class Contents:
    """What an index says of its embeddings; each is kept as JSON in the metadata of the file.

    Args:
        files: of each embedding, the path of its picture from ``folder``, with /.
        labels: of each, the name of the folder below ``folder`` that its picture lies in, or None.
        folder: absolute.
        checkpoint: absolute; digest: ``Trained.digest``.
        distance: ``Trained.distance_kind``.
        version: of lab.
    """

    files: list[str]
    labels: list[str | None]
    folder: str
    checkpoint: str
    digest: str
    distance: str
    version: str

    @classmethod
    def of(cls, trained: Trained, folder: Path, files: list[str]) -> "Contents":
        """Describe embeddings of files in a folder."""
        labels = [Path(file).parent.name or None for file in files]
        where, made_by = str(folder.resolve()), str(trained.path.resolve())
        return cls(files, labels, where, made_by, trained.digest, trained.distance_kind, lab.__version__)


def write_index(path: Path, embeddings: Tensor, contents: Contents) -> None:
    """Write embeddings, float32 (N, D), and what they are."""
    metadata = {name: json.dumps(value) for name, value in asdict(contents).items()}
    try:
        save_file({"embeddings": embeddings.contiguous()}, path, metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error


@dataclass(frozen=True)
class Index:
    """An index on disk, of which only a part is in memory at a time."""

    path: Path
    contents: Contents
    shape: tuple[int, int]

    @classmethod
    def open(cls, path: Path) -> "Index":
        """Read what an index says of its embeddings.

        Raises:
            ValueError: if it is not one, or not whole.
        """
        if not path.is_file():
            raise ValueError(f"there is no index {path}: scripts/embed.py makes one")
        try:
            with safe_open(path, "pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
                part = file.get_slice("embeddings")
                num, length = part.get_shape()
                values: dict[str, Any] = {name: json.loads(metadata[name]) for name in Contents.__dataclass_fields__}
                names = [*values["files"], *(label for label in values["labels"] if label is not None)]
                if not all(isinstance(name, str) for name in names) or any(map(_leaves, values["files"])):
                    raise ValueError("a file of it is not below its folder")
                right = part.get_dtype() == "F32" and len(values["files"]) == len(values["labels"]) == num > 0
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is not an index of scripts/embed.py, or not whole: make it again") from error
        if not right:
            raise ValueError(f"{path} does not say which file each of its embeddings is of: make it again by scripts/embed.py")
        return cls(path, Contents(**values), (num, length))

    def check_made_by(self, trained: Trained) -> None:
        """Make sure that the embeddings are those of a model.

        Raises:
            ValueError: if other weights made them.
        """
        if (self.contents.digest, self.contents.distance) != (trained.digest, trained.distance_kind):
            raise ValueError(
                f"{self.path} was made with other weights, of {self.contents.checkpoint}, than those of {trained.path}: use "
                "that checkpoint, or make the index again by scripts/embed.py"
            )

    def distances_from(self, trained: Trained, query: Tensor) -> Tensor:
        """Return the model's own distance, float32 (N,), of one embedding (D,), first in each pair, to all in the index."""
        return torch.cat([trained.distances(query.expand(len(part), -1), part) for part in self._parts()])

    def path_of(self, position: int) -> Path:
        """Return where the picture of an embedding was when the index was made."""
        return Path(self.contents.folder) / self.contents.files[position]

    def _parts(self) -> Iterator[Tensor]:
        num, length = self.shape
        step = max(1, MAX_CHUNK_ELEMENTS // max(1, length))
        with safe_open(self.path, "pt") as file:
            rows = file.get_slice("embeddings")
            for start in range(0, num, step):
                part: Tensor = rows[start : start + step]
                yield part


def _leaves(file: str) -> bool:
    """Return whether a name leads out of the folder that it is to be in."""
    path = PurePosixPath(file)
    return path.is_absolute() or ".." in path.parts
