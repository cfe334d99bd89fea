"""Files that are there whole or not at all."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path, *endings: str) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of ``path`` at the end, or is removed if anything goes wrong.

    It is made at once, so that what cannot be written is known before the work is done.

    Args:
        path: the file; its folder must be there.
        endings: of which it must have one: a slip of the fingers should not cost a photograph.

    Raises:
        ValueError: if it cannot be written, or has another ending.
    """
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"the file to write, {path}, must end in {' or '.join(endings)}")
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
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # before the name is given away: a machine may stop too
        unfinished.replace(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def json_text(record: dict[str, Any], indent: int | None = None) -> str:
    """Return a record as JSON, in which a number that JSON does not have is null."""
    return json.dumps(_defined(record), indent=indent, allow_nan=False)


def _defined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
