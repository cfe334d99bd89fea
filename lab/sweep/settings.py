"""What a sweep is, as its worker processes are told of it, and the command lines of its runs."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lab.sweep.space import Parameter

# What a trial does without: its score is what is kept of it.
SWITCHED_OFF = ("checkpoints", "pictures", "board", "model_summary", "progress_bar")
# Keys that cannot be searched, and what they are.
SAME = "the same for all trials: give it on the command line"
RESERVED = {
    **dict.fromkeys(("ckpt_path", "resume", "trust"), "for fit.py alone"),
    **dict.fromkeys((f"callbacks.{name}" for name in SWITCHED_OFF), "switched off in trials"),
    **dict.fromkeys(("callbacks.monitor", "callbacks.mode", "name", "trainer.default_root_dir"), SAME),
    **dict.fromkeys(("config", "debug", "trainer.devices", "trainer.num_nodes", "trainer.fast_dev_run"), "not searched"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """A sweep.

    Args:
        arguments: of fit.py, which all trials have.
        space: what differs between them.
        folder: where everything is written.
        storage: URL of the database that holds the trials.
        name: of the study in it.
        monitor, mode: the score, and whether its highest or lowest is best.
        max_epochs: of a trial; -1 where that is not said.
        config: what all trials have, resolved, by dotted keys.
        defaults: what its options are where nothing is said, those of classes aside.
        num_trials: None for all points of a grid.
        num_folds: 0 for no cross-validation.
    """

    arguments: list[str]
    space: list[Parameter]
    folder: Path
    storage: str
    name: str
    monitor: str
    mode: Literal["min", "max"]
    max_epochs: int
    config: dict[str, Any]
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    num_trials: int | None = None
    num_folds: int = 0
    num_workers: int = 1

    def to_json(self) -> str:
        """Return the settings as one line."""
        return json.dumps(dataclasses.asdict(self) | {"folder": str(self.folder)})

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Return the settings that a line holds."""
        values = json.loads(text)
        space = [Parameter(**parameter) for parameter in values["space"]]
        return cls(**values | {"space": space, "folder": Path(values["folder"])})

    def description(self) -> dict[str, Any]:
        """Return what must be the same for trials to belong together."""
        space = json.dumps([dataclasses.asdict(parameter) for parameter in self.space])
        return {
            "config": self.config,
            "space": digest(space),
            "score": f"{self.monitor}, {self.mode}",
            **{name: getattr(self, name) for name in ("sampler", "pruner", "seed", "num_folds")},
        }

    def with_values(self, values: Mapping[str, Any]) -> list[str]:
        """Return the command line of a run with values of the space, a class before its arguments."""
        ordered = sorted(self.space, key=lambda parameter: parameter.key.count("."))
        return [*self.arguments, *(text for one in ordered for text in (f"--{one.key}", one.text(values[one.key])))]

    def of_trial(self, values: Mapping[str, Any], number: int, fold: int | None) -> list[str]:
        """Return the command line of a run of a trial, with what it does without switched off."""
        added = {f"callbacks.{name}": "false" for name in SWITCHED_OFF}
        folder = self.folder / "trials"
        added |= {"trainer.default_root_dir": str(folder), "name": str(number)}
        if fold is not None:
            added |= {"trainer.default_root_dir": str(folder / str(number)), "name": f"fold_{fold}"}
            added |= {"data.folds.num": str(self.num_folds), "data.folds.held_out": str(fold)}
        return [*self.with_values(values), *(text for key, value in added.items() for text in (f"--{key}", value))]

    def short_names(self) -> dict[str, str]:
        """Return of each key its last parts, as many as tell it from the others."""
        return {key: _short(key, [one.key for one in self.space]) for key in (one.key for one in self.space)}


def digest(text: str) -> str:
    """Return a short text that differs where texts differ."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _short(key: str, keys: Sequence[str]) -> str:
    parts = key.split(".")
    endings = [".".join(parts[-num:]) for num in range(1, len(parts) + 1)]
    return next(end for end in endings if end == key or sum(f".{other}".endswith(f".{end}") for other in keys) == 1)
