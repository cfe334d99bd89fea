"""What the commands on a checkpoint have in common: options, errors in one line, and an answer as a table or as JSON."""

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lab.arguments import Arguments, positive, run_command
from lab.writing import json_text

if TYPE_CHECKING:
    from rich.console import Console

MAX_ROWS = 100  # of a table; all is in the JSON


class Answer(Protocol):
    """What a command found out."""

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""

    def show(self, console: "Console") -> None:
        """Print it for people."""


def command_line(description: str, examples: str) -> Arguments:
    """Return a parser of a checkpoint and the options that all commands have.

    Args:
        description: what the command answers.
        examples: commands to type, one a line.
    """
    parser = Arguments(
        description,
        epilog="examples:\n" + "\n".join(f"  python scripts/{line}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="the checkpoint, such as RUN/checkpoints/best.ckpt")
    every = parser.add_argument_group("options of all commands")
    every.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto", help="where to compute (auto: GPU if any)")
    every.add_argument("--batch_size", type=positive, default=256, metavar="N", help="pictures at a time (256)")
    every.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    every.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="import this module first: the checkpoint's own classes"
    )
    return parser


def run(parser: Arguments, work: Callable[[argparse.Namespace], Answer]) -> None:
    """Parse the command line, do the work and print what comes of it; what a user got wrong ends it with exit code 2.

    ``work`` imports what it needs by itself: PyTorch takes seconds, of which neither ``--help`` nor a mistake should know.
    """
    options = parser.parse_intermixed_args()  # pictures may be named before options and behind them
    warnings.filterwarnings("ignore", module="lightning")  # its own deprecations

    def command() -> None:
        for module in options.trust:
            _import_trusted(module)
        answer = work(options)
        if options.json:
            print(json_text(answer.record()))
        else:
            from rich.console import Console

            answer.show(Console(highlight=False, markup=False))

    run_command(command)


def _import_trusted(module: str) -> None:
    """Import a module that the user has named, from the working directory too, as with ``python -m``."""
    import torch  # noqa: F401  before any file in the working directory can take the place of something that it needs

    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ValueError(f"--trust {module}: it cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(str(Path.cwd()))
