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
    unrecognized = re.search(r"unrecognized arguments: (--)?([^\s=]+)", message)
    if unrecognized:
        dashes, name = unrecognized.groups()
        return f"unrecognized argument {dashes or ''}{name}{_nearest(name, keys) if dashes else ''}"
    rejected = re.search(r"(?:Group '([\w.]+)' does not accept option|Option) '([\w.]+)'", message)
    if rejected:
        return _unknown_key(message, path, rejected, configs, arguments, keys)
    missing_file = re.search(r"(?:Expected a path but|File does not exist:) '?(\S+\.(?:ya?ml|json))", message)
    if missing_file:
        return f"{path or '--config'}: {_no_file(Path(missing_file[1]))}"
    missing_class = re.search(r"module '([\w.]+)' has no attribute '(\w+)'|No module named '([\w.]+)'", message)
    if missing_class:
        module, name, no_module = missing_class.groups()
        return f"{path}: {_not_importable(message, module, name, no_module, configs, arguments)}"
    kinds = _expected_kinds(message)
    if kinds and path:
        value = re.search(r"(?:Got value: |Given value: |val=')(.*?)(?:\. Got value|'|\n|$)", message)
        place = _place(path, configs, arguments)
        return f"{path} must be {' or '.join(kinds)}, not {value[1] if value else '?'!r}{place}"
    if "arguments are required" in message:
        return f"{message.strip()}: name a config, such as --config configs/triplet.yaml"
    return " ".join(message.split())


def explain_refusal(message: str) -> str:
    """Take what a class said when it refused its arguments out of what the parser put around it."""
    refusal = re.search(r"Errors:\s+- (.*?)\s+- Expected a <class 'NoneType'>", message, re.DOTALL)
    return refusal[1] if refusal else message


def _expected_kinds(message: str) -> list[str]:
    """List the types that a value may have, those of the innermost key and not of what it is part of."""
    found = re.findall(r"^([ ]*)(?:- )?Expected an? (?:<class '(\w+)'>|typing\.Literal\[([^\n]*?)\])", message, re.MULTILINE)
    innermost = [name or literal for indent, name, literal in found if len(indent) >= len(found[0][0])]
    return ["null" if kind == "NoneType" else kind for kind in dict.fromkeys(innermost)]


def _no_file(path: Path) -> str:
    there = [str(found) for found in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    return f"there is no file {path}{_nearest(str(path), there)}"


def _not_importable(message: str, module: str, name: str, no_module: str, configs: list[Path], arguments: list[str]) -> str:
    given = re.findall(r"given class_path '([^']*)'", message)
    if no_module:
        path = next((class_path for class_path in given if class_path.startswith(no_module)), no_module)
        return f"{path} cannot be imported: there is no module {no_module}{_place(path, configs, arguments)}"
    near = _nearest(name, _public_names(module))
    return f"{module}.{name} cannot be imported: {module} has no {name}{near}{_place(f'{module}.{name}', configs, arguments)}"


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
    return f"unknown key {where}: {what} has no {key!r}{_nearest(key, known)}{_place(where, configs, arguments)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    """Name the nearest of what is known, whatever the case, or what there is, where that is not too much to read."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), sorted(by_lower), n=1, cutoff=0.6)
    if near:
        return f"; did you mean {by_lower[near[0]]!r}?"
    return f"; it has {', '.join(sorted(by_lower.values()))}" if 0 < len(by_lower) <= 12 else ""


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


def _place(name: str, configs: list[Path], arguments: list[str]) -> str:
    """Say where a dotted key or a class path stands: on the command line, or in which line of which file."""
    option = re.escape(name).replace(r"\.", r"(\.init_args)?\.")
    if any(argument == name or re.match(rf"--{option}(=|$)", argument) for argument in arguments):
        return " (on the command line)"
    for config in reversed(configs):
        for key, value, line in _entries(yaml.compose(config.read_text(encoding="utf-8"), yaml.SafeLoader)):
            if name in (key, value):
                return f" ({config}:{line})"
    return ""


def _entries(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, str, int]]:
    """Walk through a config: the dotted key of each entry, its value where that is not a mapping, and its line."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        dotted = prefix if key.value == "init_args" else f"{prefix}.{key.value}".lstrip(".")
        yield dotted, str(value.value) if isinstance(value, yaml.ScalarNode) else "", key.start_mark.line + 1
        yield from _entries(value, dotted)


def _syntax_error(configs: list[Path]) -> str:
    for config in configs:
        try:
            yaml.compose(config.read_text(encoding="utf-8"), yaml.SafeLoader)
        except FileNotFoundError:
            return f"--config: {_no_file(config)}"
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            return f"{config}{line} is not YAML: {error.problem}"
        except (OSError, UnicodeDecodeError) as error:
            return f"{config} cannot be read: {error}"
    return ""
