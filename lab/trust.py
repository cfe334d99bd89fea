"""Which classes may be made that a config names: for one that the user has not named, those of known projects alone."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, set_parsing_settings
from jsonargparse._paths import Path as ParsedPath
from jsonargparse._util import import_object
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

KNOWN = ("lab.data", "lab.losses", "lab.models", "lab.nets", "torch.nn", "torch.optim")
KINDS = (nn.Module, Optimizer, LRScheduler, LightningDataModule)  # callbacks and loggers write where they are told to


def deny_strangers(trusted: Sequence[str]) -> None:
    """Make the parser import, until the process ends, nothing but known projects and some modules: to import is to execute.

    Args:
        trusted: the modules that the user trusts.

    Raises:
        ValueError: if one of them cannot be.
    """
    for module in trusted:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"--trust {module}: that is no name of a module; write it as it is imported, such as my_module")
        if module.partition(".")[0] in (*sys.stdlib_module_names, "jsonargparse"):
            raise ValueError(f"--trust {module}: that is no module of classes to train with")
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*KNOWN, *trusted])
    here = {path.stem for path in Path.cwd().iterdir()}
    if not any(module.partition(".")[0] in here for module in trusted):
        # What lies in the working directory must not take the place of a library that is not installed.
        sys.path[:] = [place for place in sys.path if place and Path(place).resolve() != Path.cwd()]


def check_strangers(config: Namespace, trusted: Sequence[str]) -> None:
    """Refuse what a config would make or call that is no class of a known kind and project: a function may do anything.

    Args:
        config: as it was parsed.
        trusted: the modules that the user trusts.

    Raises:
        ValueError: naming it.
    """
    for path, found in _named(config):
        if not _is_known(path, found) and not (_is_in(path, trusted) or _is_in(_home(found), trusted)):
            raise ValueError(stranger(path))


def stranger(path: str) -> str:
    """Say that something is not known, and what to do."""
    module = path.rpartition(".")[0]
    return f"{path} is no class of a network, a loss or data of lab, torch.nn or torch.optim; if you trust it: --trust {module}"


def trust_options(config: Any) -> str:
    """Return the ``--trust`` options that another command needs to make what is in a parsed config, each after a space."""
    made = [(path, found) for path, found in _named(config) if found is not None and not _is_known(path, found)]
    modules = dict.fromkeys(where.rpartition(".")[0] for path, found in made for where in (path, _home(found)))
    return "".join(f" --trust {module}" for module in modules)


def _is_known(path: str, found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, KINDS) and _is_in(path, KNOWN) and _is_in(_home(found), KNOWN)


def _is_in(path: str, modules: Sequence[str]) -> bool:
    return any(path.startswith(f"{module}.") for module in modules)


def _home(found: Any) -> str:
    """Return where a class or a function says that it comes from, wherever it was found."""
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"


def _named(config: Any) -> Iterator[tuple[str, Any]]:
    """List what a parsed config names to be made or called, and what that is; None where it cannot be imported."""
    values = vars(config) if isinstance(config, Namespace) else config
    if isinstance(values, dict):
        path = values.get("class_path")
        if isinstance(path, str) and "." in path:
            try:
                yield path, import_object(path)
            except (ImportError, AttributeError, ValueError):  # in an argument of any type, which only looks like a class
                yield path, None
        values = list(values.values())
    if isinstance(values, list | tuple | set):
        for part in values:
            yield from _named(part)
    elif callable(values) and not isinstance(values, ParsedPath):
        yield _home(values), values
