"""What is searched: hyperparameters by their keys, and what each may be."""

import difflib
import itertools
import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from lab.config_files import read_config

FIELDS = ("choices", "low", "high", "step", "log")
EXAMPLE = "as in 'model.encoder.width: {choices: [16, 32]}' or 'model.optimizer.lr: {low: 0.0001, high: 0.01, log: true}'"
MOST_POINTS = 10_000  # of a grid, as each is a row in the storage before the first is tried


class _Loader(yaml.SafeLoader):
    """Takes 1e-4 for a number, as the parser of configs does; YAML 1.1 asks for 1.0e-4."""

    yaml_implicit_resolvers = {key: list(found) for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter: one of some choices, or a number in a range.

    Args:
        key: dotted, as on the command line of fit.py.
        choices: what it may be, anything that YAML has; empty for a range.
        low, high: the ends of the range, both of which it may be.
        step: between numbers in the range; None for any number there.
        log: whether the logarithm is searched evenly.
    """

    key: str
    choices: Sequence[Any] = field(default_factory=list)
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether a range is of whole numbers."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 0))

    def named(self) -> list[Any]:
        """Return the choices as they are stored: JSON for what is no single value."""
        return [choice if _is_single(choice) else json.dumps(choice) for choice in self.choices]

    def points(self) -> list[Any]:
        """Return all it may be, as it is stored; nothing where there is no end of it."""
        if self.choices:
            return self.named()
        if self.step is None:
            return []
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        num = int((Decimal(str(self.high)) - low) / step) + 1
        if num > MOST_POINTS:
            raise ValueError(f"{self.key} has {num:,} steps from low to high, more than {MOST_POINTS:,}: raise step")
        numbers = [low + i * step for i in range(num)]
        return [int(number) if self.is_whole else float(number) for number in numbers]

    def samples(self) -> list[Any]:
        """Return what to try before the search: all choices, or both ends."""
        return self.named() if self.choices else [self.low, self.high]

    def meant(self, value: Any) -> Any:
        """Return what is meant by a value as it was stored."""
        return next((choice for choice, name in zip(self.choices, self.named(), strict=True) if name == value), value)

    def text(self, value: Any) -> str:
        """Return a value as it was stored as the text that the command line of fit.py takes."""
        meant = self.meant(value)
        if not isinstance(meant, str):
            return json.dumps(meant)
        try:
            is_plain = yaml.load(meant, _Loader) == meant
        except yaml.YAMLError:
            is_plain = True  # no YAML, so the parser leaves it as it is
        return meant if is_plain else json.dumps(meant)


def read_space(path: Path) -> list[Parameter]:
    """Read a space from a file.

    Raises:
        ValueError: naming the file, the line and what is wrong there.
    """
    such = f"a space has the keys of hyperparameters, {EXAMPLE}"
    lines = {entry.key: entry.line for entry in read_config(path, such=such)}
    found = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    if not found:
        raise ValueError(f"{path} holds no keys; {such}")
    return [_parameter(key, fields, f" ({path}:{lines[key]})") for key, fields in found.items()]


def place_of(path: Path, key: str) -> str:
    """Return the file and the line of a hyperparameter."""
    return f"{path}:{next(entry.line for entry in read_config(path) if entry.key == key)}"


def num_points(space: Sequence[Parameter]) -> int:
    """Return how many points the grid of a space has.

    Raises:
        ValueError: naming a parameter that may be any number in a range.
    """
    endless = next((parameter.key for parameter in space if not parameter.points()), None)
    if endless is not None:
        raise ValueError(f"a grid needs choices or a step for every key, and {endless} has none: add step, or --sampler random")
    return math.prod(len(parameter.points()) for parameter in space)


def grid(space: Sequence[Parameter], num: int | None, seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield points of the grid with their numbers: all in order, or some at random, which more of them begin with too.

    Raises:
        ValueError: if there are not so many, or too many.
    """
    total, values = num_points(space), [parameter.points() for parameter in space]
    if num is not None and num > total:
        raise ValueError(f"the grid has {total:,} points, so --num_trials cannot be {num:,}: leave it out for all of them")
    if (num or total) > MOST_POINTS:
        raise ValueError(f"a grid of {num or total:,} trials is more than {MOST_POINTS:,}: give fewer values, or --num_trials")
    generator, numbers = random.Random(seed), dict.fromkeys(range(total)) if num in (None, total) else {}
    while len(numbers) < (num or total):
        numbers[generator.randrange(total)] = None
    sizes = [len(choices) for choices in values]
    for number in numbers:
        digits = [number // math.prod(sizes[i + 1 :]) % size for i, size in enumerate(sizes)]
        yield number, {one.key: choices[digit] for one, choices, digit in zip(space, values, digits, strict=True)}


def _parameter(key: str, fields: Any, place: str) -> Parameter:
    if not isinstance(fields, dict) or not fields:
        raise ValueError(f"{key} must hold choices, or low and high, {EXAMPLE}{place}")
    unknown = next((name for name in fields if name not in FIELDS), None)
    if unknown is not None:
        near = difflib.get_close_matches(str(unknown), FIELDS, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"write keys in full, {EXAMPLE}"
        raise ValueError(f"unknown key {key}.{unknown}: a hyperparameter has {', '.join(FIELDS)}; {advice}{place}")
    if "choices" in fields:
        if len(fields) > 1:
            raise ValueError(
                f"{key} has choices, so it can have no {', '.join(name for name in fields if name != 'choices')}{place}"
            )
        return _checked_choices(key, fields["choices"], place)
    for name in ("low", "high"):
        if name not in fields:
            raise ValueError(f"{key} needs {name}: a hyperparameter has choices, or low and high{place}")
    return _checked_range(Parameter(key, **fields), place)


def _checked_choices(key: str, choices: Any, place: str) -> Parameter:
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"{key}.choices must be a list, as in [16, 32], not {choices!r}{place}")
    try:
        parameter = Parameter(key, choices)
        named = parameter.named()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}.choices: {error}; write it in quotes{place}") from error
    for one, other in itertools.combinations(named, 2):
        if one == other:
            same = f"{one!r} twice" if type(one) is type(other) else f"{one!r} and {other!r}, which Python takes for the same"
            raise ValueError(f"{key}.choices has {same}{place}")
    return parameter


def _checked_range(parameter: Parameter, place: str) -> Parameter:
    key, low, high, step = parameter.key, parameter.low, parameter.high, parameter.step
    for name, number in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"{key}.{name} must be a number, not {number!r}{place}")
    if not isinstance(parameter.log, bool):
        raise ValueError(f"{key}.log must be true or false, not {parameter.log!r}{place}")
    if not low < high:
        raise ValueError(f"{key}.low must be below high, not {low} and {high}{place}")
    if parameter.log and (low <= 0 or step is not None):
        wrong = "low must be above 0" if low <= 0 else "there can be no step"
        raise ValueError(f"{key}: where log is true, {wrong}{place}")
    if step is not None and (step <= 0 or (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) != 0):
        raise ValueError(f"{key}: from low {low} in steps of {step}, high {high} is not reached{place}")
    return parameter


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
