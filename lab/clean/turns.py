"""The turns of the cross-validation, each of which is kept in a file, so that what was interrupted goes on."""

import hashlib
import json
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lab.clean.judge import Judge, judge
from lab.data import Folds, ImageDataModule
from lab.data.arrays import ImageArrays
from lab.data.folds import fold_of_each
from lab.runs import environment
from lab.writing import whole_file


class Judged(NamedTuple):
    """What is said of all training images.

    Args:
        probabilities: of each class, by a model that has not seen the image, float64 (N, C).
        folds: which fold an image was in, int64 (N,), from 0.
        seconds: that all turns took.
    """

    probabilities: Tensor
    folds: Tensor
    seconds: float


def judge_all(
    data: ImageDataModule, config: Path, options: list[str], trusted: list[str], num_folds: int, output: Path
) -> Judged:
    """Judge each fold of the training images by a model that is trained on the others.

    Args:
        data: set up, as the run has trained on them.
        config, options: by which the judge is made and trained.
        trusted: modules whose classes they may name, beside known ones.
        num_folds: how many folds there are.
        output: folder where each fold is kept, as soon as it is judged.
    """
    train = data.splits["train"]
    Folds(num_folds).part({"train": train})  # or say why they cannot be
    folds, seconds = fold_of_each(train.labels, num_folds), 0.0
    probabilities = torch.empty(len(train), data.num_classes, dtype=torch.float64)
    first = judge(config, options, trusted, Folds(num_folds, 0))  # whose settings are those of all
    digest = _digest(_digest_of(train), first.settings, first.cli.trainer.strategy.root_device.type)
    for number in range(num_folds):
        positions = (folds == number).nonzero().squeeze(1)
        path = output / f"fold_{number + 1}_of_{num_folds}.safetensors"
        kept, note = _read(path, digest, (len(positions), data.num_classes)), f"kept from before, in {path.name}"
        if kept is None:
            judging = judge(config, options, trusted, Folds(num_folds, number)) if number else first
            kept = _judge_and_keep(judging, path, digest, train.labels[positions])
            note = f"{kept[1]:.1f} s"
        probabilities[positions], seconds = kept[0], seconds + kept[1]
        right = (kept[0].argmax(1) == train.labels[positions]).double().mean()
        told = f"{len(positions):,} images, {right:.1%} of them labelled as judged"
        print(f"fold {number + 1} of {num_folds}: {told}; {note}", flush=True)
    return Judged(probabilities, folds, seconds)


def _judge_and_keep(judging: Judge, path: Path, digest: str, labels: Tensor) -> tuple[Tensor, float]:
    """Return the probabilities of a fold whose images have these labels (M,), and the seconds they took, and write both."""
    started = time.perf_counter()
    held_out = judging.cli.datamodule.splits["val"].labels
    assert torch.equal(held_out, labels), "the judge has other images than the run"
    probabilities = judging.probabilities()
    seconds = time.perf_counter() - started
    with whole_file(path) as unfinished:
        save_file({"probabilities": probabilities}, unfinished, {"digest": digest, "seconds": str(seconds)})
    return probabilities, seconds


def _read(path: Path, digest: str, shape: tuple[int, int]) -> tuple[Tensor, float] | None:
    """Return the probabilities of a fold and the seconds they took; None where they are not kept, or of other settings."""
    try:
        with safe_open(path, framework="pt") as file:
            facts, found = file.metadata() or {}, file.get_tensor("probabilities")
            fits = facts["digest"] == digest and found.shape == shape and found.dtype == torch.float64
            return (found, float(facts["seconds"])) if fits else None
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _digest(*parts: str) -> str:
    """Return what stands for the settings of a turn and what it is computed with; other threads add up in another order."""
    facts = [*parts, environment()["versions"], torch.get_num_threads()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _digest_of(arrays: ImageArrays) -> str:
    digest = hashlib.sha256(json.dumps(arrays.class_names).encode())
    for places in torch.arange(len(arrays)).split(1024):
        images, labels = arrays[places]
        digest.update(images.contiguous().numpy().tobytes())
        digest.update(labels.numpy().tobytes())
    return digest.hexdigest()
