"""One process at a time, where several would make the same files."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 2.0  # seconds after which it is said that somebody else is waited for

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep out other processes that ask for the same, on this machine or another, until this one is out or has ended.

    Where nothing can be written, or the file system knows no locks, nobody is kept out.

    Args:
        folder: is made, and gets a file ``.lock``, which stays, as to remove it could let two in; where nothing else has come
            into a folder that was made, it is removed.
    """
    path = folder / ".lock"
    made = [parent for parent in path.parents if not parent.exists()]
    lock = FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError):
        _acquire(lock, path)
    try:
        yield
    finally:
        if lock.is_locked and made:  # while nobody else is in; who waits makes the folder anew
            with contextlib.suppress(OSError):
                if list(folder.iterdir()) == [path]:
                    path.unlink()
                for parent in made:  # from the first that is not empty
                    parent.rmdir()
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    timeout = PATIENCE
    while not (lock.is_locked and path.exists()):
        lock.release()  # one whose file was removed by who was in before keeps out nobody
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with contextlib.suppress(FileNotFoundError):  # the folder was removed just now
                lock.acquire(timeout=timeout)
        except Timeout:
            _log.warning("waiting for another process, which prepares %s", path.parent)
            timeout = -1
