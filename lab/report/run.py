"""What a run has left in its folder, read without taking anything for granted: it may have been interrupted."""

import csv
import datetime
import difflib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
CURVES_OF = ("train/", "val/")
History = dict[str, tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Run:
    """A run as its folder tells of it.

    Args:
        folder: where it is.
        config: the resolved configuration, empty where it cannot be read; config_text: the same as it is written.
        record: what ``metrics.json`` holds, empty where there is none.
        history: the curves, as ``lab.plots.learning_curves`` takes them.
        pictures: the files below ``pictures/``.
        problems: what could not be read, in words.
        changed: when it last wrote its record or, without one, its configuration.
    """

    folder: Path
    config: dict[str, Any]
    config_text: str
    record: dict[str, Any]
    history: History
    pictures: list[Path]
    changed: datetime.datetime
    problems: list[str] = field(default_factory=list)

    @property
    def family(self) -> str:
        """The class of the model."""
        return self._class_of("model")

    @property
    def data(self) -> str:
        """The class of the data set."""
        return self._class_of("data")

    @property
    def network(self) -> str:
        """The class of the encoder."""
        model = self.config.get("model")
        arguments = model.get("init_args") if isinstance(model, dict) else None
        return _class_name((arguments or {}).get("encoder")) if isinstance(arguments or {}, dict) else "unknown"

    @property
    def scores(self) -> dict[str, float]:
        """The test scores by name; NaN where one is not defined."""
        found = {name: value for name, value in self.record.items() if name.startswith("test/")}
        return {name: _number(value) for name, value in found.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % intervals of scores by name."""
        stored = self.record.get("intervals")
        pairs = stored.items() if isinstance(stored, dict) else ()
        return {name: (_number(ends[0]), _number(ends[1])) for name, ends in pairs if isinstance(ends, list) and len(ends) == 2}

    @property
    def seed(self) -> Any:
        """What all randomness was seeded with."""
        return self.record.get("seed", self.config.get("seed_everything"))

    @property
    def seconds(self) -> dict[str, float]:
        """How long fitting and testing took."""
        stored = self.record.get("seconds")
        return {name: _number(value) for name, value in stored.items()} if isinstance(stored, dict) else {}

    @property
    def is_test_only(self) -> bool:
        """Whether a checkpoint of another run was scored, and nothing trained."""
        return "fit" not in self.seconds and not self.history and bool(self.config.get("ckpt_path") or self.record)

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to use: its own best or last one, or the one that was scored, where the file is still there."""
        own = [self.folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
        stored = [Path(path) for path in (self.record.get("checkpoint"), self.config.get("ckpt_path")) if isinstance(path, str)]
        return next((path for path in [*own, *stored] if path.is_file()), None)

    def _class_of(self, key: str) -> str:
        return _class_name(self.config.get(key))


def read_run(folder: Path) -> Run:
    """Read the folder of a run.

    Raises:
        ValueError: if it is none, naming what is missing and the runs near it.
    """
    config_file, record_file = folder / "config.yaml", folder / "metrics.json"
    if not config_file.is_file():
        what = "has no config.yaml" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
        near = _runs_near(folder)
        raise ValueError(f"{folder} is no run: it {what}" + (f"; there is {', '.join(near)}" if near else ""))
    problems: list[str] = []
    config_text = config_file.read_text(encoding="utf-8", errors="replace")
    config = _parsed(config_text, yaml.safe_load, "config.yaml", problems)
    record = {}
    if record_file.is_file():
        record = _parsed(record_file.read_text(encoding="utf-8", errors="replace"), json.loads, "metrics.json", problems)
    history = _read_history(folder / "metrics.csv", problems)
    inside = sorted((folder / "pictures").glob("*")) if (folder / "pictures").is_dir() else []
    pictures = [path for path in inside if path.suffix.lower() in PICTURE_ENDINGS and path.is_file()]
    written = (record_file if record_file.is_file() else config_file).stat().st_mtime
    changed = datetime.datetime.fromtimestamp(written).astimezone()
    return Run(folder, config, config_text, record, history, pictures, changed, problems)


def _parsed(text: str, parse: Any, name: str, problems: list[str]) -> dict[str, Any]:
    try:
        found = parse(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        problems.append(f"{name} cannot be read: {' '.join(str(error).split())[:200]}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{name} cannot be read: it holds no keys")
        return {}
    return {str(key): value for key, value in found.items()}


def _read_history(path: Path, problems: list[str]) -> History:
    """Read the scores of epochs, which are counted from 1 here and from 0 in the file; those of single steps are left out."""
    history: History = {}
    if not path.is_file():
        return history
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                epoch = _number(row.get("epoch"))
                for name, text in row.items():
                    wanted = isinstance(name, str) and name.startswith(CURVES_OF) and not name.endswith("_step")
                    if wanted and isinstance(text, str) and text and epoch == epoch:
                        epochs, values = history.setdefault(str(name), ([], []))
                        epochs.append(epoch + 1)
                        values.append(_number(text))
    except (csv.Error, UnicodeDecodeError) as error:
        problems.append(f"metrics.csv cannot be read to its end: {error}")
    return history


def _runs_near(folder: Path) -> list[str]:
    """Name up to five runs below a folder, or below the nearest one above it that there is."""
    for above in (folder, folder.parent, folder.parent.parent):
        if above.is_dir() and above.resolve().parent != above.resolve():
            found = [path.parent for pattern in ("*/config.yaml", "*/*/config.yaml") for path in above.glob(pattern)]
            if found:
                return difflib.get_close_matches(str(folder), sorted(map(str, found)), n=5, cutoff=0.0)
    return []


def _class_name(described: Any) -> str:
    path = described.get("class_path") if isinstance(described, dict) else described
    return path.rpartition(".")[2] if isinstance(path, str) else "unknown"


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if not isinstance(value, bool) else math.nan
