"""The fixed one-shot trials of Omniglot: 20 runs of 20 characters of one alphabet, 400 trials."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lab.data.alphabets import read_drawing
from lab.data.arrays import ImageArrays


class Trials(NamedTuple):
    """T tasks of N classes: their images, a class a file, named after it, and the places of examples and queries among them.

    ``support`` is (T, N, 1) and ``queries`` (T, N), in the same order of classes.
    """

    images: ImageArrays
    support: Tensor
    queries: Tensor


def read_trials(folder: Path) -> Trials:
    """Read the runs of Lake, Salakhutdinov and Tenenbaum (2015) as ``all_runs.zip`` unpacks them: black strokes, 0, on 255.

    Args:
        folder: holds ``run01``, ``run02`` and so on, each with ``class_labels.txt``, whose lines name a query and its example.

    Raises:
        ValueError: naming the file that is missing or does not say what it should.
    """
    runs = sorted(path for path in folder.glob("run[0-9][0-9]") if path.is_dir())
    if not runs:
        raise ValueError(f"data.trials {folder} has no run01, run02 and so on in it: unpack all_runs.zip there")
    pairs = [_read_pairs(run / "class_labels.txt") for run in runs]
    if len({len(run) for run in pairs}) > 1:
        raise ValueError(f"data.trials {folder}: its runs have different numbers of trials")
    names = sorted({name for run in pairs for pair in run for name in pair})
    place = {name: number for number, name in enumerate(names)}
    drawings = torch.from_numpy(np.stack([read_drawing(folder / name) for name in names])).unsqueeze(1)
    queries, support = torch.tensor([[[place[query], place[example]] for query, example in run] for run in pairs]).unbind(2)
    return Trials(ImageArrays(drawings, torch.arange(len(names)), names), support.unsqueeze(2), queries)


def _read_pairs(path: Path) -> list[list[str]]:
    """Return the query and the example of each trial of a run, each example once."""
    if not path.is_file():
        raise ValueError(f"data.trials: there is no {path}")
    pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    good = all(len(pair) == 2 and all(_is_in_run(name, path.parent.name) for name in pair) for pair in pairs)
    if not good or len(pairs) < 2 or len({pair[1] for pair in pairs}) < len(pairs):
        raise ValueError(f"data.trials: a line of {path} must name two files of its run, a query and an example of its own")
    return pairs


def _is_in_run(name: str, run: str) -> bool:
    return PurePosixPath(name).parts[0] == run and ".." not in PurePosixPath(name).parts
