"""Config files, looked at before the parser reads them: it would overlook some mistakes and say others badly."""

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from jsonargparse._util import import_object  # which keeps to what may be imported, see lab.trust

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs", "<<")
NULLS = ("", "~", "null", "Null", "NULL")
NO_KEYS = ("config", "debug", "resume", "trust")  # but options of the command line
TAGS = {*yaml.SafeLoader.yaml_constructors, "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"}


@dataclass(frozen=True)
class Entry:
    """A key of a config and where it stands."""

    key: str  # dotted, without init_args
    value: str  # empty where it is a mapping, [] where it is a list
    path: Path
    line: int
    kind: Literal["value", "list", "mapping", "nothing"] = "value"  # nothing: a mapping without keys


def read_config(
    path: Path, prefix: str = "", above: tuple[Path, ...] = (), such: str = "a config has data, model, trainer and so on"
) -> list[Entry]:
    """List the entries of a config, or of another file of keys.

    Args:
        path: the file.
        prefix: key that the whole file is the value of, as ``data`` in ``--data mnist.yaml``.
        above: files that have led to this one.
        such: which keys such a file has, for one that has none.

    Raises:
        ValueError: if there is no such file, it is not a YAML mapping, a key stands twice in it, or something stands
            beside ``class_path`` that belongs below ``init_args``.
    """
    if not path.is_file():
        there = {found.name: str(found) for found in path.parent.glob("*.yaml")} if path.parent.is_dir() else {}
        near = [there[name] for name in difflib.get_close_matches(path.name, there, n=1, cutoff=0.7)]
        if path.is_dir():
            raise ValueError(f"{path} is a folder, not a config")
        raise ValueError(
            f"{prefix}: there is no file {path}".removeprefix(": ") + (f"; did you mean {near[0]!r}?" if near else "")
        )
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line} is not YAML: {error.problem}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not a text file") from error
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path} holds no keys; {such}")
    entries = list(_entries(node, path, prefix, ()))
    for entry in list(entries):
        inner = path.parent / entry.value
        if inner in (*above, path):
            raise ValueError(f"{path}:{entry.line} names {inner}, which leads back to it")
        if entry.value.endswith((".yaml", ".yml")) and inner.is_file():
            entries += read_config(inner, entry.key, (*above, path))
    return entries


def _entries(node: yaml.Node, path: Path, prefix: str, above: tuple[yaml.Node, ...]) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    if node in above:
        raise ValueError(f"{path}:{node.start_mark.line + 1} holds itself")
    if node.tag not in TAGS:
        raise ValueError(f"{path}:{node.start_mark.line + 1} has the tag {node.tag}, which a config cannot have")
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _entries(part, path, prefix, (*above, node))
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        line, name = key.start_mark.line + 1, str(key.value)
        if not key.tag.endswith((":str", ":merge", ":value")):
            raise ValueError(f"{path}:{line} has the key {name}, which is no text: put it in quotes, or mend it")
        if name in seen:
            raise ValueError(f"{path}:{line} gives {name} again, which line {seen[name]} has given")
        seen[name] = line
        dotted = prefix if name == "init_args" else f"{prefix}.{name}".lstrip(".")
        if name != "init_args":
            if isinstance(value, yaml.ScalarNode):
                yield Entry(dotted, str(value.value), path, line)
            elif isinstance(value, yaml.SequenceNode):
                yield Entry(dotted, "[]", path, line, "list")
            else:
                yield Entry(dotted, "", path, line, "mapping" if value.value else "nothing")
        yield from _entries(value, path, dotted, (*above, node))
    if {"class_path", "init_args"} & seen.keys():
        for name in (name for name in seen if name not in CLASS_KEYS):
            near = difflib.get_close_matches(name, CLASS_KEYS, n=1, cutoff=0.7)
            advice = f"did you mean {near[0]!r}?" if near else "an argument of the class stands below init_args"
            raise ValueError(f"unknown key {prefix}.{name} beside class_path; {advice} ({path}:{seen[name]})")


def check_groups(entries: list[Entry], groups: list[str]) -> None:
    """Refuse anything but keys and values for a key that must hold some, and what is asked for on the command line alone.

    Raises:
        ValueError: naming the key and its place.
    """
    for entry in entries:
        if entry.key in NO_KEYS:
            raise ValueError(f"{entry.key} is given on the command line, as --{entry.key}, not in {entry.path}:{entry.line}")
        if entry.key in ("data", "model") and entry.kind == "value" and entry.value in NULLS:
            raise ValueError(f"{entry.key} cannot be null: it must name a class ({entry.path}:{entry.line})")
        if entry.key in groups and entry.kind not in ("mapping", "nothing") and not entry.value.endswith((".yaml", ".yml")):
            given = f"not be {entry.value}" if entry.value else "or be left out"
            raise ValueError(f"{entry.key} must hold keys and values, {given} ({entry.path}:{entry.line})")


def keys_of_classes(entries: list[Entry]) -> set[str]:
    """List the keys that the classes named in the configs have, such as ``data.batch_size``."""
    keys = set()
    for entry in entries:
        key, _, name = entry.key.rpartition(".")
        owner = key if name == "class_path" else entry.key
        if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", entry.value):
            try:
                keys |= {f"{owner}.{parameter}" for parameter in parameters(entry.value)}
            except (ImportError, AttributeError, ValueError):
                continue
    return keys


def parameters(class_path: str) -> set[str]:
    """Name the arguments of a class, with those that it passes on to its ancestors."""
    named = import_object(class_path) if "." in class_path else object
    classes = inspect.getmro(named) if inspect.isclass(named) else (named,)
    makers = [maker.__init__ if inspect.isclass(maker) else maker for maker in classes if maker is not object]
    parameters = [p for maker in makers for p in inspect.signature(maker).parameters.values()]
    return {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} - {"self"}


def public_names(module: str) -> list[str]:
    """Name the classes that a module has."""
    names = vars(importlib.import_module(module)).items()
    return [name for name, value in names if inspect.isclass(value) and not name.startswith("_")]


def broken_module(class_path: str) -> str:
    """Say why the module of a class path cannot be imported, where that is so."""
    try:
        if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", class_path):
            import_object(class_path)
    except ImportError:
        return ""
    except Exception as error:
        if class_path.rpartition(".")[0] not in sys.modules:
            return f"{class_path} cannot be imported: {type(error).__name__}: {error}"
    return ""
