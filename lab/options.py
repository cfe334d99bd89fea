"""What stands on the command line and around it, before it is parsed."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser


def given(*options: str) -> list[str]:
    """Return the values that the command line gives for an option, as ``--option value`` or ``--option=value``."""
    values = []
    for argument, following in zip(sys.argv[1:], [*sys.argv[2:], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name in options:
            values.append(value if equals else following)
    return values


def show_help(described: Mapping[str, type[Any]]) -> None:
    """Show the help for keys whose options come together, where it is asked for; the parser names it but does not show it."""
    for key, options in described.items():
        if any(argument.partition("=")[0] == f"--{key}.help" for argument in sys.argv[1:]):
            parser = LightningArgumentParser(prog=Path(sys.argv[0]).name, usage="%(prog)s --config FILE [--KEY VALUE ...]")
            parser.add_class_arguments(options, key)
            parser.print_help()
            sys.exit()


def devices_of_torchrun() -> dict[str, int]:
    """Return how many processes torchrun has started, on how many machines, as the trainer is told of them."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    here, all_there_are = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return {"devices": here, "num_nodes": all_there_are // here}
