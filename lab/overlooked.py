"""Mistakes in a config that the parser lets through: nulls where there must be a value, unknown keys that hold nothing."""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonargparse import Namespace
from jsonargparse._util import import_object

from lab.config_files import Entry


def check_overlooked(
    config: Namespace, makers: Mapping[str, Callable[..., Any]], filled_in: list[str], entries: list[Entry]
) -> None:
    """Refuse nulls for arguments that cannot be None, and keys that nothing has.

    Args:
        config: as it was parsed.
        makers: the class or function that takes the values below a key, where the config names none.
        filled_in: keys that get their values later.
        entries: what stands in the files.

    Raises:
        ValueError: naming the key.
    """
    known = set()
    for key, value, makes in _arguments(config, "", None, makers):
        known.add(key)
        if value is None and key not in filled_in and makes is not None and not _takes_none(makes, key.rpartition(".")[2]):
            raise ValueError(f"{key} cannot be null: leave it out for its default")
    for entry in entries:
        if entry.kind == "nothing" and entry.key not in known:
            near = difflib.get_close_matches(entry.key, sorted(known), n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown key {entry.key}{advice} ({entry.path}:{entry.line})")


def _arguments(
    values: Namespace, key: str, makes: Callable[..., Any] | None, makers: Mapping[str, Callable[..., Any]]
) -> Iterator[tuple[str, Any, Callable[..., Any] | None]]:
    """List each key, what it is and what takes it, without class_path and init_args."""
    if isinstance(values.get("class_path"), str):
        yield from _arguments(values.get("init_args") or Namespace(), key, import_object(values.class_path), makers)
        return
    for name, value in vars(values).items():
        dotted = f"{key}.{name}".lstrip(".")
        yield dotted, value, makes
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Namespace):
                yield from _arguments(part, dotted, makers.get(dotted), makers)


def _takes_none(makes: Callable[..., Any], name: str) -> bool:
    """Tell whether an argument of a class, or of an ancestor that it passes the argument on to, may be None."""
    for maker in [one.__init__ for one in inspect.getmro(makes)] if inspect.isclass(makes) else [makes]:  # type: ignore[misc]
        parameter = inspect.signature(maker).parameters.get(name)
        if parameter is None:
            continue
        try:
            kind = typing.get_type_hints(maker).get(name, Any)
        except (NameError, TypeError):  # a hint that cannot be looked up here
            return True
        union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
        return parameter.default is None or kind is Any or (union and type(None) in typing.get_args(kind))
    return True
