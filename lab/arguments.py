"""A command line of few options, whose mistakes end it with one line and exit code 2, as those of fit.py do."""

import argparse
import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from lab.freed_memory import keep_freed_memory


class Arguments(argparse.ArgumentParser):
    """A parser without the usage in its errors, and with ``--debug``."""

    def __init__(self, description: str, **settings: Any) -> None:
        super().__init__(description=description, allow_abbrev=False, **settings)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and end."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
        options = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown, options, n=1) if message.startswith("unrecognized") else []
        advice = f"did you mean {near[0]}?" if near else "--help shows the options"
        self.exit(2, f"error: {printable(' '.join(message.split()))} ({advice})\n")


def run_command(command: Callable[[], None], user_errors: tuple[type[Exception], ...] = (ValueError, OSError)) -> None:
    """Run a command; what a user got wrong ends it with one line and exit code 2, unless ``--debug`` asks for more."""
    keep_freed_memory()
    try:
        command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever was reading, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except user_errors as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {printable(_in_one_line(error))}", file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def called_with(arguments: Sequence[str]) -> Iterator[None]:
    """Let what reads the command line of this process, as ``LabCLI`` does, find these arguments."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


def positive(text: str) -> int:
    """Return a whole number above 0."""
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return number


def printable(text: str) -> str:
    """Replace what a terminal would obey or could not show, as there may be in the name of a file."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split())
