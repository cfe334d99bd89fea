"""What is wrong with a folder of pictures, all of it at once, before anything is trained on it."""

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.data.layout import NOT_READ, Skipped, find_classes, list_beside, list_files
from lab.data.pictures import ENDINGS, decode

Severity = Literal["error", "warning"]
COMPARED_AT = 64  # side in pixels at which pictures are compared
UNBALANCED = 10  # times as many pictures in one class as in another


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a folder.

    Args:
        severity: ``error``, if training is refused for it; ``warning``, if scores may mislead.
        kind: of it, in a word or two.
        message: naming the files.
    """

    severity: Severity
    kind: str
    message: str


@dataclass(frozen=True)
class Checked:
    """What was found in a folder: pictures that can be read by split and class, and what is wrong."""

    counts: dict[str, dict[str, int]]
    findings: list[Finding]


def check_folder(folder: Path) -> Checked:
    """Look at every picture in a folder of classes, as ``ImageFolder`` takes it.

    Raises:
        ValueError: if it is none, or its folders are not those of classes.
    """
    findings: list[Finding] = []
    counts: dict[str, dict[str, int]] = {}
    places: dict[str, list[tuple[str, str, Path]]] = defaultdict(list)  # split, class and file by what is to be seen
    splits, skipped = find_classes(folder), Skipped([], [])
    for split, classes in splits.items():
        counts[split] = {}
        for name, inside in classes.items():
            files = list_files(inside, skipped)
            findings += [
                Finding("error", "not supported", f"{path}: convert {path.suffix} to JPEG or PNG")
                for path in files
                if path.suffix.lower() in NOT_READ
            ]
            pictures = [path for path in files if path.suffix.lower() in ENDINGS]
            seen = _look_at(pictures)
            findings += [Finding("error", "broken", what) for _, what, is_whole in seen if not is_whole]
            whole = [(path, digest) for path, digest, is_whole in seen if is_whole]
            counts[split][name] = len(whole)
            for path, digest in whole:
                places[digest].append((split, name, path))
    parents = {folder, *(path.parent for classes in splits.values() for path in classes.values())}
    findings += [found for parent in parents for found in _about_strays(parent, skipped)]
    findings += _about_skipped(skipped)
    unreadable = {Path(error.filename) for error in skipped.unreadable}
    findings += _about_classes(counts, splits, unreadable)
    findings += [finding for alike in places.values() if len(alike) > 1 for finding in _about_copies(alike)]
    return Checked(counts, sorted(findings, key=lambda found: (found.severity, found.kind, found.message)))


def _about_skipped(skipped: Skipped) -> list[Finding]:
    cannot = [f"{error.filename} cannot be read: {error.strerror}" for error in skipped.unreadable]
    loops = [f"{link} leads back to {link.resolve()}, in which it lies, and is not gone into" for link in skipped.loops]
    return [
        *(Finding("error", "unreadable", message) for message in cannot),
        *(Finding("warning", "loop", message) for message in loops),
    ]


def _about_strays(folder: Path, skipped: Skipped) -> list[Finding]:
    """Say which pictures lie beside the folders of classes."""
    strays = list_beside(folder, skipped)
    if not strays:
        return []
    message = f"{len(strays)} beside the folders in {folder}, of no class, so that nothing uses them: {_named(strays)}"
    return [Finding("warning", "stray", message)]


def _named(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:4])) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def _look_at(paths: Iterable[Path]) -> list[tuple[Path, str, bool]]:
    """Return of each picture a digest of what is to be seen, and True; or what is wrong with it, and False."""
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(_look_at_one, paths))


def _look_at_one(path: Path) -> tuple[Path, str, bool]:
    if not path.is_file():
        return path, f"{path} cannot be read: it is {'not a file' if path.exists() else 'a link to nothing'}", False
    try:
        return path, hashlib.sha256(decode(path, COMPARED_AT, "squash").numpy().tobytes()).hexdigest(), True
    except ValueError as error:
        return path, str(error), False


def _about_classes(
    counts: dict[str, dict[str, int]], splits: dict[str, dict[str, Path]], unreadable: set[Path]
) -> list[Finding]:
    train = counts["train"]
    found = (
        []
        if len(train) > 1
        else [Finding("error", "one class", f"there is one class, {min(train, default='none')}: two are needed")]
    )
    for split, classes in counts.items():
        for name, num in classes.items():
            where = splits[split][name]
            if num == 0 and split == "train" and where not in unreadable:
                found.append(Finding("error", "empty class", f"{where} has no picture that can be read"))
            elif num == 1:
                found.append(Finding("warning", "one picture", f"{where} has one picture: no pair of that class can be made"))
            if name not in train:
                found.append(Finding("error", "unknown class", f"{where} is a class that train does not have"))
    sizes = sorted((num, name) for name, num in train.items() if num)
    if len(sizes) > 1 and sizes[-1][0] >= UNBALANCED * sizes[0][0]:
        (few, rare), (many, common) = sizes[0], sizes[-1]
        message = f"{common} has {many} training pictures and {rare} {few}: accuracy will mostly be that of {common}"
        found.append(Finding("warning", "unbalanced", message))
    return found


def _about_copies(alike: list[tuple[str, str, Path]]) -> list[Finding]:
    """Say what is wrong with pictures that look the same."""
    names = _named([path for _, _, path in alike])
    splits, classes = {split for split, _, _ in alike}, {name for _, name, _ in alike}
    found = []
    if len(classes) > 1:
        found.append(Finding("warning", "two labels", f"one picture in {len(classes)} classes: {names}"))
    if len(splits) > 1 and "train" in splits:
        message = f"one picture in {' and '.join(sorted(splits))}, so that its score means nothing: {names}"
        found.append(Finding("warning", "leak", message))
    return found or [
        Finding(
            "warning", "copies", f"one picture {len(alike)} times: {names}; where a part is held out to test, it may be in both"
        )
    ]
