"""What a resolved configuration says, as it is said on a command line."""

from typing import Any

PLACES_OF_DATA = ("root", "folder", "path")  # the options of a data set that say where it is, not what


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
