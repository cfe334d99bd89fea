"""What is wrong with a sweep, found before anything is trained."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from jsonargparse._util import import_object

from lab.arguments import called_with
from lab.callbacks import direction
from lab.cli import LabCLI
from lab.configuration import PLACES_OF_DATA
from lab.options import devices_of_torchrun
from lab.preflight import check_parts
from lab.runs import PROJECT
from lab.sweep.settings import RESERVED, Settings
from lab.sweep.space import Parameter, place_of

MOST_MADE = 20  # times that data and model are made before the search
# Where data lie and results go, which may differ between machines that share a sweep.
PLACES = (("trainer", "default_root_dir"), *(("data", "init_args", name) for name in PLACES_OF_DATA), ("name",))


class ReadOnly(LabCLI):
    """Reads configs and arguments as fit.py does, and makes nothing."""

    def instantiate_classes(self) -> None:
        """Make nothing."""


class MadeOnly(LabCLI):
    """Makes the data and the model of a run and looks whether they fit together, and makes neither trainer nor folder."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Look at the parts of a run."""
        check_parts(self.model, self.datamodule, self.config, resuming=False)


def read(arguments: list[str]) -> ReadOnly:
    """Read a command line of fit.py."""
    with called_with(arguments):
        return ReadOnly()


def base_facts(arguments: list[str], num_folds: int) -> dict[str, Any]:
    """Read the config that all trials have, and return of the settings what it decides, with the folder of its runs.

    Raises:
        ValueError: if it cannot be that of a sweep.
    """
    if devices_of_torchrun():
        raise ValueError("a sweep is started without torchrun: --num_workers trains several trials at once")
    cli = read(arguments)
    config = cli.config
    devices = config.trainer.devices
    if str(devices) != "1" or config.trainer.num_nodes != 1:
        raise ValueError(
            f"trainer.devices {devices}: each trial is trained on one device; --num_workers trains several at once"
        )
    if config.ckpt_path is not None:
        raise ValueError("ckpt_path is for fit.py alone: trials begin anew")
    if num_folds and config.data.init_args.get("folds") is not None:
        raise ValueError("data.folds is set by --num_folds: leave it out of the config, or --num_folds")
    monitor = _monitor(config)
    if monitor.startswith("test/"):
        raise ValueError(f"callbacks.monitor {monitor}: test images are not searched by; name a score of validation")
    return {
        "logs": Path(config.trainer.default_root_dir or PROJECT / "lightning_logs").resolve(),
        "run_name": config.name,
        "monitor": monitor,
        "mode": direction(monitor, config.callbacks.mode),
        "max_epochs": config.trainer.max_epochs if config.trainer.max_epochs is not None else -1,
        "config": _same_for_all(cli, cli.asked_for),
        "defaults": _same_for_all(cli, cli.parser.get_defaults()),
    }


def check_keys(space: list[Parameter], path: Path, arguments: list[str], num_folds: int) -> None:
    """Refuse keys that are not searched, or are given on the command line too.

    Raises:
        ValueError: naming the key and its line.
    """
    for key in (parameter.key for parameter in space):
        if key in RESERVED:
            raise ValueError(f"{key} cannot be searched: it is {RESERVED[key]} ({place_of(path, key)})")
        if num_folds and (key == "data.folds" or key.startswith("data.folds.")):
            raise ValueError(f"{key} is set by --num_folds: leave one of them out ({place_of(path, key)})")
        if any(re.match(rf"--{re.escape(key)}(=|$)", argument) for argument in arguments):
            raise ValueError(f"{key} is in the space and on the command line: leave it out of one ({place_of(path, key)})")


def check_values(settings: Settings, path: Path) -> None:
    """Read the config with every choice and both ends of every range, and make data and model with as many as is quick.

    Raises:
        ValueError: in the words of fit.py, but with the place in the file of the space.
    """
    samples = {parameter.key: parameter.samples() for parameter in settings.space}
    for turn in range(max(len(values) for values in samples.values())):
        values = {key: choices[turn % len(choices)] for key, choices in samples.items()}
        try:
            config = (_make if turn < MOST_MADE else _read_only)(settings, values).config
        except ValueError as error:
            raise ValueError(_in_space(str(error), settings, values, path)) from error
        monitor = _monitor(config)
        if monitor != settings.monitor:
            raise ValueError(
                f"{config.model.class_path} is scored by {monitor}, and others by {settings.monitor}: "
                "name a score that all trials have by --callbacks.monitor"
            )


def _read_only(settings: Settings, values: dict[str, Any]) -> LabCLI:
    return read(settings.with_values(values))


def _make(settings: Settings, values: dict[str, Any]) -> LabCLI:
    folds = ["--data.folds.num", str(settings.num_folds), "--data.folds.held_out", "0"] if settings.num_folds else []
    with called_with([*settings.with_values(values), *folds]):
        return MadeOnly()


def _in_space(message: str, settings: Settings, values: dict[str, Any], path: Path) -> str:
    """Say where a key stands in the space that the parser has seen on a command line, or which values were refused."""
    keys = [one.key for one in settings.space if re.search(rf"(?<![\w.]){re.escape(one.key)}(?![\w.])", message)]
    if not keys:
        tried = ", ".join(f"{one.key} {one.text(values[one.key])}" for one in settings.space)
        return f"{message} (with {tried} of {path})"
    key = max(keys, key=len)
    if message.startswith("unrecognized argument"):
        message = message.replace("unrecognized argument --", "unknown key ").replace("'--", "'")
    message = message.removesuffix(" (on the command line)")
    return message if message.endswith(")") else f"{message} ({place_of(path, key)})"


def _monitor(config: Any) -> str:
    monitor: str = config.callbacks.monitor or import_object(config.model.class_path).monitor
    return monitor


def _same_for_all(cli: ReadOnly, settings: Namespace) -> dict[str, Any]:
    """Return what is set, by dotted keys, but for where things are written."""
    config = yaml.safe_load(cli.parser.dump(settings, skip_unset=False, skip_validation=True))
    for *above, name in PLACES:
        inner = config
        for key in above:
            inner = inner.get(key) or {}
        inner.pop(name, None)
    config.pop("config", None)
    return dict(_flat(config))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield keys, as one types them, and values: of a class its path, and its arguments below it."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _flat(inner, key if name in ("class_path", "init_args") else f"{key}.{name}".lstrip("."))
