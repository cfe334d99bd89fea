"""What was wrong with a configuration, in one line: the key, its place, the nearest right one."""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml


def explain(message: str, configs: list[Path], arguments: list[str], keys: Iterable[str]) -> str:
    """Turn what the parser says into one line.

    Args:
        message: the parser's message, of any number of lines.
        configs: the config files that were read, in order.
        arguments: the command line.
        keys: every key the parser knows, dotted.
    """
    broken = _syntax_error(configs)
    if broken:
        return broken
    path = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    rejected = re.search(r"(?:Group '([\w.]+)' does not accept option|Option) '([\w.]+)'", message)
    if rejected:
        return _unknown_key(message, path, rejected, configs, arguments, keys)
    missing_class = re.search(r"module '([\w.]+)' has no attribute '(\w+)'|No module named '([\w.]+)'", message)
    if missing_class:
        given = re.findall(r"given class_path '([^']*)'", message)
        module, name, no_module = missing_class.groups()
        reason = f"no module {no_module}" if no_module else f"{module} has no {name}{_nearest(name, _public_names(module))}"
        return f"{path}: {given[-1] if given else name!r} cannot be imported: {reason}{_place(given[-1:], configs, arguments)}"
    expected = list(dict.fromkeys(re.findall(r"Expected an? (<class '\w+'>|typing\.Literal\[[^\n]*?\])", message)))
    if expected and path:
        kinds = [re.sub(r"<class '(\w+)'>|typing\.Literal\[(.*)\]", r"\1\2", kind) for kind in expected]
        kinds = ["null" if kind == "NoneType" else kind for kind in kinds]
        value = re.search(r"(?:Got value: |Given value: |val=')([^\n']*)", message)
        key = path.split(".")[-1]
        return f"{path} must be {' or '.join(kinds)}, not {value[1] if value else '?'!r}{_place([key], configs, arguments)}"
    if "arguments are required" in message:
        return f"{message.strip()}: name a config, such as --config configs/triplet.yaml"
    return " ".join(message.split())


def _unknown_key(
    message: str, path: str, rejected: re.Match[str], configs: list[Path], arguments: list[str], keys: Iterable[str]
) -> str:
    group, key = rejected.groups()
    owner = re.findall(r"class_path[ =]'([^']+)'", message[: rejected.end() + 100].replace("given class_path", "class_path"))
    if owner:
        known: Iterable[str] = _parameters(owner[-1])
        where, what = f"{path}.{key}", owner[-1]
    else:
        prefix = f"{group}." if group else ""
        key = key if group else key.split(".")[0]
        known = {known_key[len(prefix) :].split(".")[0] for known_key in keys if known_key.startswith(prefix)}
        where, what = prefix + key, group or "a config"
    return f"unknown key {where}: {what} has no {key!r}{_nearest(key, known)}{_place([key], configs, arguments)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}" if known else ""


def _parameters(class_path: str) -> set[str]:
    """Name the arguments of a class, with those that it passes on to its ancestors."""
    module, _, name = class_path.rpartition(".")
    named = getattr(importlib.import_module(module), name) if module else object
    classes = inspect.getmro(named) if inspect.isclass(named) else (named,)
    makers = [maker.__init__ if inspect.isclass(maker) else maker for maker in classes if maker is not object]
    parameters = [p for maker in makers for p in inspect.signature(maker).parameters.values()]
    return {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} - {"self"}


def _public_names(module: str) -> list[str]:
    return [name for name, value in vars(importlib.import_module(module)).items() if inspect.isclass(value)]


def _place(names: list[str], configs: list[Path], arguments: list[str]) -> str:
    """Say where a key or a value stands: on the command line, or in which line of which file."""
    for name in names:
        if any(re.search(rf"(^--|\.){re.escape(name)}(=|$)", argument) or argument == name for argument in arguments):
            return " (on the command line)"
        for config in reversed(configs):
            for node in _scalars(yaml.compose(config.read_text(encoding="utf-8"), yaml.SafeLoader)):
                if node.value == name:
                    return f" ({config}:{node.start_mark.line + 1})"
    return ""


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.CollectionNode):
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                yield from _scalars(part)


def _syntax_error(configs: list[Path]) -> str:
    for config in configs:
        try:
            yaml.compose(config.read_text(encoding="utf-8"), yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            return f"{config}{line} is not YAML: {error.problem}"
        except (OSError, UnicodeDecodeError) as error:
            return f"{config} cannot be read: {error}"
    return ""
