"""The trials of a sweep in their storage: planned once, taken by one process each, put back if that is no more."""

import contextlib
import datetime
import os
import platform
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from lab.run_list import is_alive
from lab.sweep.sampling import SeededByTrial, pruner
from lab.sweep.settings import Settings
from lab.sweep.space import grid

BEAT_EVERY = 30  # seconds apart a worker says that its trial is alive
LOST_AFTER = 4 * BEAT_EVERY  # seconds without a word after which a trial of another machine is put back
PATIENCE = 10.0  # seconds to wait for another machine that is planning the trials


class Trials:
    """The trials of a sweep.

    Args:
        settings: of the sweep.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.storage = _open(settings.storage)
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
        path = _file_of(self.settings.storage)
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
        differ = [name for name in ours if ours[name] != theirs.get(name)]
        if differ:
            told = [f"{name} ({theirs[name]})" if name in ("sampler", "seed", "pruner") else name for name in differ if theirs]
            raise ValueError(
                f"{self.settings.folder} holds a sweep with another {' and '.join(told)}: give this one a folder of its own by "
                f"--output, or go on with that one by its command: {self.study.user_attrs.get('command', 'not known')}"
            )

    def plan(self) -> None:
        """Put all trials in the queue that are not there yet."""
        settings = self.settings
        points = dict(grid(settings.space, settings.num_trials, settings.seed)) if settings.sampler == "grid" else None
        wanted = len(points) if points is not None else settings.num_trials or 0
        if _file_of(settings.storage) is None and not self.is_new:
            self._wait_for_planner(wanted)
        with self.alone():
            planned = {trial.user_attrs.get("planned") for trial in self.all()} - {None}
            for number in points if points is not None else range(wanted):
                if number not in planned:
                    self.study.enqueue_trial(points[number] if points else {}, user_attrs={"planned": number})
            self.study.set_user_attr("num_planned", max(wanted, self.study.user_attrs.get("num_planned", 0)))

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
        return _file_of(self.settings.storage) is not None or age.total_seconds() > LOST_AFTER


@contextlib.contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """Say in one line where a storage fails in the middle of a sweep, as when its server is stopped.

    Raises:
        ValueError: naming the storage.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        words = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"{shown(settings.storage)} has failed: {words}; the same command goes on with the sweep") from error


def shown(url: str) -> str:
    """Return the URL of a storage without the password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "URL" if "@" in url else url


def _file_of(url: str) -> Path | None:
    """Return the file that a storage is; None for a database with a server."""
    parsed = make_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def _open(url: str, num_tries: int = 3) -> RDBStorage:
    """Open a storage, making its tables where there are none; two machines that do so at once hinder each other."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # of heartbeats
    try:
        wait = {"connect_args": {"timeout": 60}} if _file_of(url) is not None else {"pool_pre_ping": True}
        return RDBStorage(url, wait, heartbeat_interval=BEAT_EVERY, grace_period=LOST_AFTER)
    except ImportError as error:
        raise ValueError(f"--storage {shown(url)} needs a driver that is not installed: {error.__cause__ or error}") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        if num_tries > 1 and isinstance(error, IntegrityError | ProgrammingError | optuna.exceptions.StorageInternalError):
            time.sleep(1)
            return _open(url, num_tries - 1)
        words = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(
            f"--storage {shown(url)} cannot be opened: {words}; write it as in postgresql://user:password@host/database"
        ) from error
