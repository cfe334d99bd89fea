"""Where the trials of a sweep are kept: a file, or a database that several machines share."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

BEAT_EVERY = 30  # seconds apart a worker says that its trial is alive
LOST_AFTER = 4 * BEAT_EVERY  # seconds without a word after which a trial of another machine is put back


@contextlib.contextmanager
def answering(url: str) -> Iterator[None]:
    """Say in one line where a storage fails in the middle of a sweep, as when its server is stopped.

    Raises:
        ValueError: naming the storage.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        words = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"{shown(url)} has failed: {words}; the same command goes on with the sweep") from error


def shown(url: str) -> str:
    """Return the URL of a storage without the password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "URL" if "@" in url else url


def file_of(url: str) -> Path | None:
    """Return the file that a storage is; None for a database with a server."""
    parsed = make_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def open_storage(url: str, num_tries: int = 3) -> RDBStorage:
    """Open a storage, making its tables where there are none; two machines that do so at once hinder each other."""
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it would print tracebacks beside the error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # of heartbeats
    try:
        wait = {"connect_args": {"timeout": 60}} if file_of(url) is not None else {"pool_pre_ping": True}
        return RDBStorage(url, wait, heartbeat_interval=BEAT_EVERY, grace_period=LOST_AFTER)
    except ImportError as error:
        raise ValueError(f"--storage {shown(url)} needs a driver that is not installed: {error.__cause__ or error}") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        if num_tries > 1 and isinstance(error, IntegrityError | ProgrammingError | optuna.exceptions.StorageInternalError):
            time.sleep(1)
            return open_storage(url, num_tries - 1)
        words = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(
            f"--storage {shown(url)} cannot be opened: {words}; write it as in postgresql://user:password@host/database"
        ) from error
