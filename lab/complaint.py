"""What the parser complains about, where that stands, and the nearest of what there is."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from lab.config_files import Entry


@dataclass(frozen=True)
class Complaint:
    """What the parser says, and what it was given.

    Args:
        message: the parser's message, of any number of lines.
        entries: what stands in the configs, in the order in which they are read.
        arguments: the command line.
        keys: every key the parser knows, dotted.
        classes_of: modules in which the classes of a key usually are, by the last part of the key.
    """

    message: str
    entries: list[Entry]
    arguments: list[str]
    keys: list[str]
    classes_of: dict[str, list[str]]

    @property
    def path(self) -> str:
        """The dotted key that is complained about."""
        return ".".join(re.findall(r'Parser key "([\w.]+)"', self.message))

    @property
    def here(self) -> str:
        """Where it stands."""
        return self.place(self.path)

    def place(self, name: str) -> str:
        """Say where a dotted key or a class path stands: on the command line, or in which line of which file."""
        option = re.escape(name).replace(r"\.", r"(\.init_args)?\.")
        if any(argument == name or re.match(rf"--{option}(=|$)", argument) for argument in self.arguments):
            return " (on the command line)"
        found = [entry for entry in self.entries if name in (entry.key, entry.value)]
        return f" ({found[-1].path}:{found[-1].line})" if found else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the nearest of what is known, whatever the case, or what there is, where that is not too much to read."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), sorted(by_lower), n=1, cutoff=0.6)
    if near:
        return f"; did you mean {by_lower[near[0]]!r}?"
    return f"; it has {', '.join(sorted(by_lower.values()))}" if 0 < len(by_lower) <= 12 else ""
