"""The trials of a sweep in their storage: planned once, taken by one process each, put back if that is no more."""

import contextlib
import datetime
import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from lab.run_list import is_alive
from lab.sweep.sampling import SeededByTrial, pruner
from lab.sweep.settings import Settings
from lab.sweep.space import grid
from lab.sweep.storage import LOST_AFTER, file_of, open_storage

MAX_SHOWN = 3  # keys of a config
PATIENCE = 10.0  # seconds to wait for another machine that is planning the trials


class Trials:
    """The trials of a sweep.

    Args:
        settings: of the sweep.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.storage = open_storage(settings.storage)
        self.is_new = False
        with self.alone():
            try:
                self.study = self._study(optuna.create_study)
                self.is_new = True
            except optuna.exceptions.DuplicatedStudyError:
                self.study = self._study(optuna.load_study)
            if self.is_new:
                self.study.set_user_attr("description", settings.description())

    def _study(self, get: Any) -> optuna.Study:
        made = {"direction": f"{self.settings.mode}imize"} if get is optuna.create_study else {}
        sampler = SeededByTrial(self.settings.sampler, self.settings.seed)
        study: optuna.Study = get(
            study_name=self.settings.name, storage=self.storage, sampler=sampler, pruner=pruner(self.settings), **made
        )
        return study

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out, where the storage is a file, which does not do so itself; ends with this process."""
        path = file_of(self.settings.storage)
        if path is None:
            yield
            return
        with contextlib.closing(sqlite3.connect(f"{path}.lock", timeout=60, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield

    def check_same(self) -> None:
        """Refuse to mix with trials of another sweep.

        Raises:
            ValueError: naming what differs.
        """
        began = time.monotonic()
        while "description" not in self.study.user_attrs and time.monotonic() - began < PATIENCE:
            time.sleep(0.2)
        theirs = self.study.user_attrs.get("description", {})
        ours = self.settings.description()
        if isinstance(there := theirs.get("config"), dict):  # without options that have come since, which were as by default
            new = {key: self.settings.defaults[key] for key in ours["config"] if key in self.settings.defaults}
            theirs = theirs | {"config": new | there}
        differ = [name for name in ours if ours[name] != theirs.get(name)]
        if differ:
            told = [_difference(name, theirs[name], ours[name]) for name in differ if theirs]
            raise ValueError(
                f"{self.settings.folder} holds a sweep with another {' and '.join(told)}: give this one a folder of its own by "
                f"--output, or go on with that one by its command: {self.study.user_attrs.get('command', 'not known')}"
            )

    def plan(self) -> int:
        """Put all trials in the queue that are not there yet; return how many have been planned, now and before."""
        settings = self.settings
        points = dict(grid(settings.space, settings.num_trials, settings.seed)) if settings.sampler == "grid" else None
        wanted = len(points) if points is not None else settings.num_trials or 0
        if file_of(settings.storage) is None and not self.is_new:
            self._wait_for_planner(wanted)
        with self.alone():
            planned = {trial.user_attrs.get("planned") for trial in self.all()} - {None}
            for number in points if points is not None else range(wanted):
                if number not in planned:
                    self.study.enqueue_trial(points[number] if points else {}, user_attrs={"planned": number})
            num_planned = max(wanted, int(self.study.user_attrs.get("num_planned", 0)))
            self.study.set_user_attr("num_planned", num_planned)
        return num_planned

    def _wait_for_planner(self, wanted: int) -> None:
        """Wait while another machine, which has made the study, is planning."""
        num, since = -1, time.monotonic()
        while self.study.user_attrs.get("num_planned", 0) < wanted and time.monotonic() - since < PATIENCE:
            if len(self.all()) != num:
                num, since = len(self.all()), time.monotonic()
            time.sleep(0.2)

    def retry_failed(self) -> int:
        """Put a trial with the same values in the queue for each that has failed, once, and return how many these are."""
        with self.alone():
            again = {trial.user_attrs.get("retry_of") for trial in self.all()}
            failed = [trial for trial in self.all(TrialState.FAIL) if trial.number not in again]
            for trial in failed:
                values = trial.params or trial.system_attrs.get("fixed_params", {})
                self.study.enqueue_trial(values, user_attrs={"retry_of": trial.number})
        return len(failed)

    def all(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in some states, or all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def take(self) -> optuna.Trial | None:
        """Take a trial from the queue, for this process alone; None if none is waiting."""
        with self.alone():
            for waiting in self.all(TrialState.WAITING):
                with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                    if self.storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING):
                        self.storage.record_heartbeat(waiting._trial_id)
                        trial = optuna.Trial(self.study, waiting._trial_id)
                        trial.set_user_attr("process", {"process": os.getpid(), "machine": platform.node()})
                        return trial
        return None

    def put_back(self, trial: FrozenTrial) -> None:
        """Let a trial wait again; it keeps its values."""
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial._trial_id, "process", None)
            self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def note_death(self, trial: FrozenTrial, how: str) -> str:
        """Put a trial back whose process has died of it, or have it failed where that is the second; say which."""
        if not trial.user_attrs.get("has_died"):
            self.storage.set_trial_user_attr(trial._trial_id, "has_died", True)
            self.put_back(trial)
            return f"trial {trial.number}: its process was ended by {how}; it is tried once more"
        reason = f"its process was ended twice, by {how}: memory may have run out"
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return f"trial {trial.number}  failed: {reason}"

    def put_back_lost(self) -> int:
        """Put back the trials whose process is no more, and return how many these are."""
        with self.alone():  # so that none has just been taken
            stale = set(self.storage._get_stale_trial_ids(self.storage.get_study_id_from_name(self.settings.name)))
            lost = [trial for trial in self.all(TrialState.RUNNING) if trial._trial_id in stale or self._is_lost(trial)]
            for trial in lost:
                self.put_back(trial)
        return len(lost)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        process = trial.user_attrs.get("process")
        if process is not None:
            return not is_alive(process)
        age = datetime.datetime.now() - (trial.datetime_start or datetime.datetime.now())
        return file_of(self.settings.storage) is not None or age.total_seconds() > LOST_AFTER


def _difference(name: str, theirs: Any, ours: Any) -> str:
    """Say what of a sweep differs: a choice as it is there, of a config the first keys."""
    if name in ("sampler", "seed", "pruner"):
        return f"{name} ({theirs})"
    if name != "config" or not isinstance(theirs, dict):
        return name
    keys = [key for key in {**ours, **theirs} if _value(ours, key) != _value(theirs, key)]
    shown = [f"{key} {_value(theirs, key)} there, {_value(ours, key)} here" for key in keys[:MAX_SHOWN]]
    return f"config ({'; '.join(shown + [f'and {len(keys) - MAX_SHOWN} more'] * (len(keys) > MAX_SHOWN))})"


def _value(config: dict[str, Any], key: str) -> str:
    return json.dumps(config[key]) if key in config else "not"
