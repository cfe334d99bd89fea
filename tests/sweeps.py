"""Sweeps of trials that take a moment, for the tests."""

import csv
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

CONFIG = """\
data:
  class_path: lab.data.Synthetic
  init_args: {num_classes_made: 3, num_train_images: 60, num_test_images: 9, stored_shape: [1, 8, 8], noise: 0.7,
    batch_size: 20, validation_size: 30}
model:
  class_path: lab.models.Classifier
  init_args:
    encoder: {class_path: lab.nets.MLP, init_args: {hidden_sizes: [8], embedding_size: 4}}
    optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 2, accelerator: cpu}
"""
FEW = ("--trainer.max_epochs", "1")
LR = "model.optimizer.lr: {low: 0.001, high: 0.3, log: true}\n"
FAULTY = '''
import os, signal
from lightning.pytorch import Callback

class Fault(Callback):
    """Does something to a trial of one learning rate: raises, ends its process, or ends it the first time."""
    def __init__(self, raises: float = -1, dies: float = -1, dies_once: float = -1):
        self.raises, self.dies, self.dies_once = raises, dies, dies_once
    def on_train_epoch_start(self, trainer, module):
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        if lr == self.raises:
            raise RuntimeError("out of\\nluck")
        if lr == self.dies or (lr == self.dies_once and not os.path.exists("died")):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
'''


def arguments(folder: Path, space: str, *more: str) -> list[str]:
    """Write a config and a space into a folder, and return the arguments of a sweep that writes to ``out`` there."""
    (folder / "tiny.yaml").write_text(CONFIG)
    (folder / "space.yaml").write_text(space)
    (folder / "faulty.py").write_text(FAULTY)
    return ["--config", "tiny.yaml", "--space", "space.yaml", "--output", "out", *more]


def with_fault(**kinds: float) -> list[str]:
    """Return the arguments that do something to trials."""
    return ["--trainer.callbacks", json.dumps([{"class_path": "faulty.Fault", "init_args": kinds}])]


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the table of trials, without their seconds."""
    with (folder / "trials.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def facts(folder: Path) -> dict[str, Any]:
    """Return what ``sweep.json`` holds."""
    found: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return found


def settings(folder: Path, space: str = LR, **options: Any) -> Any:
    """Return the settings of a sweep whose trials are not trained."""
    from lab.sweep.settings import Settings
    from lab.sweep.space import read_space

    folder.mkdir(exist_ok=True)
    (folder / "space.yaml").write_text(space)
    parts = {
        "monitor": "val/accuracy",
        "mode": "max",
        "max_epochs": 9,
        "config": {"data.seed": 0, "model.rows": 2},
        "num_trials": 4,
        **options,
    }
    storage = f"sqlite:///{folder / 'trials.db'}"
    return Settings([], read_space(folder / "space.yaml"), folder, storage, folder.name, **parts)


def scores(run: Path, name: str = "val/accuracy") -> list[float]:
    """Return a score of each epoch of a run."""
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


class NoProcess:
    """A worker that has done its work in this process already: to start one takes longer than the trials."""

    returncode, pid = 0, os.getpid()

    def poll(self) -> int:
        """Return that it has ended."""
        return 0


@pytest.fixture
def unsynced() -> Iterator[None]:
    """Let SQLite leave it to the system when to write to the disk, for which it would wait at each trial."""

    def relax(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    yield
    event.remove(Engine, "connect", relax)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the work of workers be done in this process."""
    from lab.sweep import crew, worker

    def start(settings: Any, place: int) -> NoProcess:
        worker.work(settings, sys.stdout)
        return NoProcess()

    monkeypatch.setattr(crew, "start_worker", start)
