"""What the script does."""

import argparse
import contextlib
import difflib
import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.arguments import Arguments, positive
from lab.commands import run_training
from lab.runs import script, short_path
from lab.sweep.checks import base_facts, check_keys, check_values
from lab.sweep.settings import RESERVED, Settings
from lab.sweep.space import grid, read_space

if TYPE_CHECKING:
    from lab.sweep.study import Trials

OF_FIT = (
    *("config", "data", "model", "trainer", "callbacks", "seed_everything", "name", "encoder_from", "weights_from"),
    "print_config",
)
DEFAULT_NUM = 20


def sweep() -> None:
    """Search hyperparameters by the command line."""
    run_training(_sweep)


def _sweep() -> None:
    asked, arguments = _options()
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("a sweep needs Optuna: pip install -e '.[sweep]'")
    settings = _settings(asked, arguments)
    check_values(settings, asked.space)
    from lab.sweep.storage import answering  # after what is wrong is said, and whether Optuna is there

    trials = _trials(settings)
    with answering(settings.storage):
        _search(trials, asked.retry_failed)


def _options() -> tuple[argparse.Namespace, list[str]]:
    usage = "%(prog)s --config FILE --space FILE [--KEY VALUE ...] [options]"
    about = "Search hyperparameters: train with values from a space, score on validation images, and write the best config."
    parser = Arguments(
        about, usage=usage, epilog="--config and any other --KEY VALUE are those of fit.py, the same for all trials."
    )
    add = parser.add_argument
    add("--space", type=Path, metavar="FILE", help="YAML file of keys and what they may be")
    add("--sampler", choices=("grid", "random", "tpe"), default="tpe", help="how values are chosen (tpe)")
    add("--num_trials", type=positive, metavar="N", help=f"how many trials ({DEFAULT_NUM}; of a grid all points)")
    add("--pruner", choices=("none", "median", "hyperband"), default="none", help="how trials are given up early (none)")
    add("--num_folds", type=_folds, default=0, metavar="K", help="cross-validate each trial by K folds")
    add("--num_workers", type=positive, default=1, metavar="W", help="trials trained at once (1)")
    add("--storage", metavar="URL", help="database that several machines share, as postgresql://... (a file in the folder)")
    add("--seed", type=_seed, default=0, help="of the choice of values (0)")
    add("-o", "--output", type=Path, metavar="FOLDER", help="to write to (lightning_logs/NAME_sweep)")
    add("--retry_failed", action="store_true", help="try trials that have failed once more")
    asked, arguments = parser.parse_known_args()
    known = [option for action in parser._actions for option in action.option_strings]
    for name in (argument.partition("=")[0] for argument in arguments if argument.startswith("--") and argument != "--"):
        key = name.removeprefix("--")
        if key in ("ckpt_path", "resume", "trust"):
            raise ValueError(f"{name} is {RESERVED[key]}: leave it out")
        if "." not in key and key not in OF_FIT:
            near = difflib.get_close_matches(name, [*known, *(f"--{option}" for option in OF_FIT)], n=1)
            raise ValueError(
                f"unrecognized argument {name}; " + (f"did you mean {near[0]}?" if near else "--help shows the options")
            )
    if asked.space is None:
        raise ValueError("name what to search: --space space.yaml; the README has an example")
    return asked, arguments


def _settings(asked: argparse.Namespace, arguments: list[str]) -> Settings:
    space = read_space(asked.space)
    check_keys(space, asked.space, arguments, asked.num_folds)
    if asked.sampler == "grid":
        list(grid(space, asked.num_trials, asked.seed))  # or what is wrong with it
    facts = base_facts(arguments, asked.num_folds)
    folder = (asked.output or facts.pop("logs") / f"{facts['run_name']}_sweep").resolve()
    facts = {name: fact for name, fact in facts.items() if name not in ("logs", "run_name")}
    options = {name: getattr(asked, name) for name in ("sampler", "pruner", "seed", "num_folds", "num_workers")}
    num = asked.num_trials or (None if asked.sampler == "grid" else DEFAULT_NUM)
    storage = asked.storage or f"sqlite:///{folder / 'trials.db'}"
    return Settings(arguments, space, folder, storage, folder.name, num_trials=num, **options, **facts)


def _trials(settings: Settings) -> "Trials":
    from lab.sweep.study import Trials

    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in settings.folder.iterdir() if path.is_dir() and path.name != "trials")
        if others:  # as in the folder of a run, or of reproduce.py
            raise ValueError(f"{settings.folder} is not that of a sweep, as it has {others[0]}: name another by --output")
    except OSError as error:
        raise ValueError(f"--output {settings.folder} cannot be written: {error.strerror}") from error
    trials = Trials(settings)
    trials.check_same()
    return trials


def _search(trials: "Trials", retries: bool) -> None:
    from lab.sweep.crew import Crew
    from lab.sweep.results import write_pictures, write_records
    from lab.sweep.words import command_of_this, ranked

    settings, began, command = trials.settings, time.perf_counter(), command_of_this(trials.settings, script("sweep.py"))
    trials.study.set_user_attr("command", command)
    crew = Crew(trials)
    try:
        planned = trials.plan()
        if settings.num_trials is not None and planned > settings.num_trials:
            print(f"--num_trials {settings.num_trials} asks for no more than were planned before, which are {planned}")
        if retries:
            print(f"{trials.retry_failed()} failed trials are tried once more")
        crew.work()
    except (KeyboardInterrupt, SystemExit):
        crew.end()
        write_records(trials, command, time.perf_counter() - began)
        print(f"interrupted; to go on:\n  {command}", flush=True)
        raise
    except ValueError:
        crew.end()
        with contextlib.suppress(Exception):  # the storage may be what has failed
            write_records(trials, command, time.perf_counter() - began)
        raise
    finally:
        crew.end()
    write_records(trials, command, time.perf_counter() - began)
    _show(trials, *write_pictures(trials))
    if not ranked(trials.all(), trials.settings):
        raise ValueError(f"no trial was completed; {short_path(trials.settings.folder / 'trials.csv')} has the reasons")


def _show(trials: "Trials", pictures: list[Path], undrawn: list[str]) -> None:
    from lab.sweep.words import counted, ranked, std_of, table_of

    settings, every = trials.settings, trials.all()
    wide, console = Console(highlight=False, soft_wrap=True, markup=False), Console(highlight=False, markup=False)
    for reason in undrawn:
        wide.print(reason)
    for best in ranked(every, settings)[:1]:
        console.print(table_of(every, settings))
        deviation = (
            f" (standard deviation {std_of(best):.4f} over {settings.num_folds} folds)" if std_of(best) is not None else ""
        )
        wide.print(
            f"best: trial {best.number} of {counted(every)}, {settings.monitor} {best.user_attrs['value']:.4f}{deviation}"
        )
        for one in settings.space:
            wide.print(f"  {one.key}: {one.text(best.params[one.key])}")
        wide.print(f"trials:   {short_path(settings.folder / 'trials.csv')}")
        wide.print(f"pictures: {' '.join(short_path(path) for path in pictures)}")
        wide.print(f"\nnext:\n  {script('fit.py')} --config {short_path(settings.folder / 'best.yaml')}")
    sys.stdout.flush()


def _folds(text: str) -> int:
    return _at_least(text, 2)


def _seed(text: str) -> int:
    return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
    number = int(text) if text.isdecimal() else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of {least} or more, not {text!r}")
    return number
