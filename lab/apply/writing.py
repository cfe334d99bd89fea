"""Files that are there whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, ending: str) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of ``path`` at the end, or is removed if anything goes wrong.

    It is made at once, so that what cannot be written is known before the work is done.

    Args:
        path: the file; its folder must be there.
        ending: which it must have: a slip of the fingers should not cost a photograph.

    Raises:
        ValueError: if it cannot be written, or has another ending.
    """
    if path.suffix.lower() != ending:
        raise ValueError(f"the file to write, {path}, must end in {ending}")
    if path.is_dir():
        raise ValueError(f"{path} cannot be written: it is a folder")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        unfinished.open("xb").close()
        mode = unfinished.stat().st_mode  # by the user's umask; safetensors would let nobody else read the file
    except OSError as error:
        reason = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise ValueError(f"{path} cannot be written: {reason}") from error
    try:
        yield unfinished
        unfinished.chmod(mode)
        unfinished.replace(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()
