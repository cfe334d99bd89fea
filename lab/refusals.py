"""What a class said when it refused its arguments, in its own words and by its key."""

import re
import traceback

from jsonargparse import Namespace
from torch import nn

# How lines begin that the parser puts around what a class said.
AROUND = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class", "Problem with given class_path", "Parser key")


def explain_refusal(error: BaseException, class_paths: dict[str, str]) -> str:
    """Take what a class said when it refused its arguments out of what the parser put around it; name the key and the class.

    Args:
        error: what the parser raised.
        class_paths: the classes of the config, by their keys.
    """
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    first = next((i for i, line in enumerate(lines) if line == "Errors:"), -1) + 1
    said = [line for line in lines[first:] if line and not line.startswith(AROUND)]
    message = said[0] if first and said else re.sub(r"^Call to compute_fn .*? failed: ", "", str(error), flags=re.DOTALL)
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    made = [
        frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "__init__"
    ]
    owners = [type(part).__name__ for part in reversed(made) if isinstance(part, nn.Module)]
    keys = {path.rpartition(".")[2]: f"{key}: " for key, path in class_paths.items()}
    owner = next((name for name in owners if name in keys), next(iter(owners), ""))  # a layer is made by what the config names
    if not owner or "data." in message or "model." in message:
        return message
    key = keys.get(owner, "")
    return key + (message if owner in message else f"{owner} cannot be made: {message}")


def class_paths(config: Namespace, prefix: str = "") -> dict[str, str]:
    """Return the class paths in a config by their keys, without init_args."""
    found = {}
    for name, value in vars(config).items():
        if name == "class_path":
            found[prefix] = value
        elif isinstance(value, Namespace):
            found |= class_paths(value, prefix if name == "init_args" else f"{prefix}.{name}".lstrip("."))
    return found
