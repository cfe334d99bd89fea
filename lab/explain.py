"""What was wrong with a configuration, in one line: the key, its place, the nearest right one."""

import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from lab.complaint import Complaint, nearest
from lab.config_files import broken_module, keys_of_classes, parameters, public_names, read_config
from lab.trust import stranger


def explain(complaint: Complaint) -> str:
    """Turn what the parser says into one line."""
    for pattern, say in KINDS:
        found = re.search(pattern, complaint.message, re.MULTILINE)
        if found:
            return say(complaint, found)
    return " ".join(complaint.message.split())


def _unrecognized(complaint: Complaint, found: re.Match[str]) -> str:
    dashes, name = found.groups()
    if not dashes:
        advice = f"; a config is given by --config {name}" if name.endswith((".yaml", ".yml")) else ""
        return f"unrecognized argument {name}{advice}"
    whole = [argument.partition("=")[0] for argument in complaint.arguments]
    name = next((argument.removeprefix("--") for argument in whole if argument.endswith(f".{name}")), name)
    keys = {*complaint.keys, *keys_of_classes(complaint.entries)}
    ends = sorted(key for key in keys if key.rpartition(".")[2] == name)
    near = difflib.get_close_matches(name, sorted(keys), n=1, cutoff=0.6)
    if not near:
        last_parts = {key.rpartition(".")[2]: key for key in complaint.keys}
        near = [last_parts[end] for end in difflib.get_close_matches(name, last_parts, n=2, cutoff=0.7)]
    advice = " or ".join(f"'--{key}'" for key in dict.fromkeys([*ends, *near]))
    return f"unrecognized argument --{name}" + (f"; did you mean {advice}?" if advice else "")


def _without_value(complaint: Complaint, found: re.Match[str]) -> str:
    following = [*complaint.arguments[1:], "--"]
    bare = [name for name, value in zip(complaint.arguments, following, strict=True) if value.startswith("--")]
    name = next((name for name in bare if re.match(rf"{found[1]}(\.[^=]*)?$", name)), found[1])
    return f"{name} needs a value" + (", the class to explain, such as lab.nets.ConvNet" if name.endswith(".help") else "")


def _unknown_key(complaint: Complaint, found: re.Match[str]) -> str:
    group, key = found.groups()
    until_there = complaint.message[: found.end() + 100]
    owner = re.findall(r"class_path[ =]'([^']+)'", until_there.replace("given class_path", "class_path"))
    if owner and owner[-1].endswith((".Family", ".LightningDataModule")):  # which the parser takes where no class is named
        return f"{complaint.path} must name its class by class_path{complaint.here}"
    if owner:
        known, where, what = parameters(owner[-1]), f"{complaint.path}.{key}", owner[-1]
    else:
        prefix = f"{group}." if group else ""
        key = key if group else key.split(".")[0]
        known = {name.removeprefix(prefix).split(".")[0] for name in complaint.keys if name.startswith(prefix)}
        where, what = prefix + key, group or "a config"
    return f"unknown key {where}: {what} has no {key!r}{nearest(key, known)}{complaint.place(where)}"


def _no_file(complaint: Complaint, found: re.Match[str]) -> str:
    return f"{complaint.path or '--config'}: there is no file {found[1]}"


def _not_importable(complaint: Complaint, found: re.Match[str]) -> str:
    module, name, no_module = found.groups()
    start = f"{complaint.path}: " if complaint.path else ""
    if no_module:
        given = re.findall(r"given class_path '([^']*)'", complaint.message)
        path = next((class_path for class_path in given if class_path.startswith(no_module)), no_module)
        return f"{start}{path} cannot be imported: there is no module {no_module}{complaint.place(path)}"
    path, near = f"{module}.{name}", nearest(name, public_names(module))
    return f"{start}{path} cannot be imported: {module} has no {name}{near}{complaint.place(path)}"


def _bad_file(complaint: Complaint, found: re.Match[str]) -> str:
    """Name the class in a file that cannot be made, where the parser says that the file leads back to itself."""
    entries = read_config(Path(found[1]), complaint.path)
    named = next((entry for entry in entries if entry.key.endswith("class_path")), None)
    if named is None:
        return f"{complaint.path}: {found[1]} names no class{complaint.here}"
    module, _, name = named.value.rpartition(".")
    near = nearest(name, public_names(module)) if module in sys.modules else ""
    return f"{complaint.path}: {named.value} cannot be made{near} ({named.path}:{named.line})"


def _missing_arguments(complaint: Complaint, found: re.Match[str]) -> str:
    path = complaint.path
    if not path:
        if null := re.search(r"--(data|model)[= ]null", " ".join(complaint.arguments)):
            return f"{null[1]} cannot be null: it must name a class{complaint.place(null[1])}"
        return f"{found[0].strip()}: name a config, such as --config configs/triplet.yaml"
    class_path = re.findall(r"class_path='([\w.]+)'", complaint.message.split("Given value", 1)[-1])
    inner = re.findall(r"given class_path '([\w.]+)'", complaint.message)
    name = inner[-1] if len(inner) > path.count(".") else (class_path or ["the class"])[0]
    keys = " and ".join(f"{path}.{argument.strip()}" for argument in found[1].split(","))
    return f"{path}: {name} needs {found[1]}; set {keys}{complaint.place(path)}"


def _several_classes(complaint: Complaint, found: re.Match[str]) -> str:
    return f"{complaint.path}: several classes are called {found[1]}; write one in full: {found[2]}{complaint.here}"


def _wrong_class(complaint: Complaint, found: re.Match[str]) -> str:
    given = re.search(r"Import path ([\w.]+) does|Expected a path but (\S+) either|Given value: (\S+)", complaint.message)
    named = next(filter(None, given.groups())) if given else "it"
    room, _, name = named.rpartition(".")
    fits = [key for key, modules in complaint.classes_of.items() if room in modules and name in public_names(room)]
    advice = f"; it may be one for {fits[0]!r}" if fits else ""
    return f"{complaint.path} must be a {found[1]}, which {named} is not{advice}{complaint.here}"


def _no_class_path(complaint: Complaint, found: re.Match[str]) -> str:
    path = complaint.path
    if path.rpartition(".")[2] not in complaint.classes_of:
        return f"{path} cannot be {found[1]!r}{complaint.place(path)}"
    known: dict[str, str] = {}
    for module in complaint.classes_of.get(path.rpartition(".")[2], ()):
        known |= {name.lower(): f"{module}.{name}" for name in public_names(module)}
    near = difflib.get_close_matches(found[1].rpartition(".")[2].lower(), known, n=1, cutoff=0.6)
    advice = (
        f"did you mean {known[near[0]]!r}?"
        if near
        else f"write it in full, such as {next(iter(known.values()), 'my_module.MyClass')}"
    )
    return f"{path}: there is no class {found[1]!r}; {advice}{complaint.place(path)}"


def _no_class(complaint: Complaint, found: re.Match[str]) -> str:
    named = re.search(r"val='([\w.]+)'|Given value: ([\w.]+)", complaint.message)
    name = next(filter(None, named.groups())) if named else "it"
    advice = "torchvision's models are made by lab.nets.Pretrained"
    if not complaint.path:
        return f"a class_path names a function, where there must be a class; {advice}"
    return f"{complaint.path} must be a class, and {name} is a function; {advice}{complaint.here}"


def _no_mapping(complaint: Complaint, found: re.Match[str]) -> str:
    path = re.findall(r'Parser key "([\w.]+)"', complaint.message)[0]  # which is said twice
    return f"{path} must hold keys and values, or name a file of them, not {found[1]!r}{complaint.place(path)}"


def _no_class_named(complaint: Complaint, found: re.Match[str]) -> str:
    return f"{complaint.path} must name a {found[1]} by class_path, and its arguments by init_args{complaint.here}"


def _wrong_type(complaint: Complaint, found: re.Match[str]) -> str:
    """Name the types that a value may have, those of the innermost key and not of what it is part of."""
    expected = re.compile(
        r"^([ ]*)(?:- )?Expected an? (?:<class '(?:[\w.]+\.)?(\w+)'>|typing\.Literal\[([^\n]*?)\])", re.MULTILINE
    )
    all_kinds = expected.findall(complaint.message)
    kinds = dict.fromkeys(name or literal for indent, name, literal in all_kinds if len(indent) >= len(all_kinds[0][0]))
    value = re.search(r"(?:Got value: |Given value: |val=')(.*?)(?:\. Got value|'|\n|$)", complaint.message)
    broken = broken_module(value[1]) if value else ""
    if broken:
        return f"{complaint.path}: {broken}{complaint.here}"
    kind = complaint.path.rpartition(".")[2]
    if kind in complaint.classes_of:
        room = complaint.classes_of[kind][0]
        named = (re.search(r"class_path='([\w.]+)'", complaint.message) or value or ["", "?"])[1]
        such = f"such as {room}.{public_names(room)[0]}, not {named!r}"
        return f"{complaint.path} must name a class, {such}{complaint.here}"
    if not kinds.keys() - {"NoneType"}:  # what else it can be was not said
        return f"{complaint.path} cannot be {value[1] if value else '?'!r}{complaint.here}"
    allowed = " or ".join("null" if kind == "NoneType" else kind for kind in kinds)
    allowed = "int" if complaint.path == "seed_everything" else allowed  # which the parser would let be true or false
    allowed = allowed.replace("Sequence", "list").replace("list", "a list as '[a, b]'")
    return f"{complaint.path} must be {allowed}, not {value[1] if value else '?'!r}{complaint.here}"


def _denied(complaint: Complaint, found: re.Match[str]) -> str:
    return stranger(found[1]) + complaint.place(found[1])


KINDS: tuple[tuple[str, Callable[[Complaint, re.Match[str]], str]], ...] = (
    (r"Importing '([\w.]+)' is not allowed", _denied),
    (r"unrecognized arguments: (--)?([^\s=]+)", _unrecognized),
    (r"argument (?:-\w/)?(--[\w.]+): expected one argument", _without_value),
    (r"(?:Group '([\w.]+)' does not accept option|Option) '([\w.]+)'", _unknown_key),
    (r"(?:Expected a path but|File does not exist:) '?(\S+\.(?:ya?ml|json))", _no_file),
    (r"module '([\w.]+)' has no attribute '(\w+)'|No module named '([\w.]+)'", _not_importable),
    (r"Config file loop detected: (\S+) ->", _bad_file),
    (r"Unable to load config '(.*?)'", _no_mapping),
    (r"the following arguments are required: (.*)", _missing_arguments),
    (r"Multiple subclasses with name (\w+)\..*ambiguity: (.*?)\.?$", _several_classes),
    (r"does not correspond to a subclass of (\w+)", _wrong_class),
    (r"add_function_arguments\(\) got an unexpected keyword", _no_class),
    (r"Not a valid subclass of (\w+)", _no_class_named),
    (r"Expected a dot import path string: (\S+)", _no_class_path),
    (r"Expected an? (?:<class|typing\.Literal)", _wrong_type),
)
