"""What a resolved configuration says, as it is said on a command line."""

import os
from pathlib import Path
from typing import Any

PLACES_OF_DATA = ("root", "folder", "path")  # the options of a data set that say where it is, not what
PATHS = ("ckpt_path", "encoder_from", "weights_from", *(f"data.init_args.{name}" for name in (*PLACES_OF_DATA, "exclude")))


def dotted_keys(config: Any, key: str = "") -> dict[str, Any]:
    """Return the settings of a configuration by dotted keys, without ``init_args``; that of a class is its path."""
    if not isinstance(config, dict) or not config:
        return {key: config}
    found = {key: config["class_path"]} if "class_path" in config else {}
    for name, value in config.items():
        if name == "init_args":
            found |= dotted_keys(value, key) if value else {}
        elif name != "class_path":
            found |= dotted_keys(value, f"{key}.{name}".lstrip("."))
    return found


def make_paths_absolute(config: Any) -> None:
    """Change the files and folders that a config names, by keys with dots, so that it can be read from another folder too."""
    for key in PATHS:
        value = config.get(key)
        if isinstance(value, str | os.PathLike) and not str(value).startswith("~"):
            config[key] = str(Path(value).absolute())
