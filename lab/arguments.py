"""A command line of few options, whose mistakes end it with one line and exit code 2, as those of fit.py do."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn


class Arguments(argparse.ArgumentParser):
    """A parser without the usage in its errors, and with ``--debug``."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{message} (--help shows the options)")


def run_command(command: Callable[[], None]) -> None:
    """Run a command; what a user got wrong ends it with one line and exit code 2, unless ``--debug`` asks for more."""
    try:
        command()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
