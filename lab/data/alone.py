"""One process at a time, where several would make the same files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock


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
        while not lock.is_locked:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # one that was in has just removed the folder
                lock.acquire()
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            if made and list(folder.iterdir()) == [path]:
                path.unlink()
            for parent in made:  # from the first that is not empty
                parent.rmdir()
