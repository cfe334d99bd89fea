"""Which classes may be made that a config names: for one that the user has not chosen, those of known projects alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import set_parsing_settings

# What a run's own config may name unasked: to make a class is to execute what its module says.
KNOWN = (
    *(f"lab.{room}" for room in ("callbacks", "data", "losses", "metrics", "models", "nets")),
    *("torch.nn", "torch.optim", "lightning.pytorch", "lightning.fabric", "pytorch_metric_learning"),
)


def deny_what_executes() -> None:
    """Make the parser refuse what executes text or changes files, such as ``os.system``, whoever names it."""
    set_parsing_settings(import_path_denylist=[])  # nothing beside the parser's own list, which it then keeps to


def deny_strangers(trusted: Sequence[str]) -> None:
    """Make the parser refuse, until the process ends, all classes but those of known projects and of some modules.

    Args:
        trusted: the modules that the user trusts.

    Raises:
        ValueError: if one of them is no name of a module.
    """
    for module in trusted:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"--trust {module}: that is no name of a module; write it as it is imported, such as my_module")
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*KNOWN, *trusted])


def trust_options(settings: Any) -> str:
    """Return the ``--trust`` options that a command needs to make what settings name, each with a space before it."""
    modules = dict.fromkeys(path.rpartition(".")[0] for path in _class_paths(settings))
    return "".join(f" --trust {module}" for module in modules if not f"{module}.".startswith(tuple(f"{k}." for k in KNOWN)))


def trust_options_of(run_folder: Path, key: str = "") -> str:
    """Return the ``--trust`` options that a command needs which goes by the config of a run.

    Args:
        run_folder: the folder of the run.
        key: the only group of the config that matters to the command; empty for all of it.
    """
    try:
        settings = yaml.safe_load((run_folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return trust_options(settings.get(key) if key and isinstance(settings, dict) else settings)


def _class_paths(settings: Any) -> Iterator[str]:
    if isinstance(settings, dict):
        path = settings.get("class_path")
        yield from [path] if isinstance(path, str) else []
        settings = list(settings.values())
    for part in settings if isinstance(settings, list) else ():
        yield from _class_paths(part)
