"""What the script does."""

import argparse
import contextlib
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.arguments import Arguments, positive, run_command
from lab.reproduce.catalog import Catalog, read_catalog
from lab.reproduce.experiment import Experiment
from lab.reproduce.markdown import PLACES
from lab.reproduce.measured import Elsewhere, read_measured, score_of
from lab.reproduce.runner import Outcome, Runner
from lab.reproduce.side_by_side import Seeded, run_side_by_side, seeded
from lab.runs import PROJECT

if TYPE_CHECKING:
    from lab.reproduce.table import Table


OWN_OPTIONS = {
    "--seed_everything": "--seeds N runs the seeds 0 to N - 1",
    "--name": "its name is that of the experiment",
    "--trainer.default_root_dir": "-o FOLDER says where runs go",
    "--config": "NAME says which experiments are run",
    "--resume": "what was interrupted goes on by itself",
    "--data.root": "--data-root ROOT says where the data are",
    "--data.folder": "--data-root ROOT says where the data are",
}


def reproduce() -> None:
    """Run the experiments that the command line asks for, and write the table."""
    run_command(_reproduce)


def _reproduce() -> None:
    asked = _parser().parse_args()
    catalog = read_catalog()
    chosen = catalog.choose(asked.names)
    if asked.list:
        _list(chosen, {} if asked.names else catalog.elsewhere)
        return
    table = _table(asked, catalog, chosen)
    seeds = range(asked.seeds or (1 if asked.fast else 3))
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # which ends what is running too
    try:
        if not asked.table:
            _run_all(table, seeded(chosen, seeds, {} if asked.again else table.elsewhere), asked.again)
    except (KeyboardInterrupt, SystemExit):
        print("interrupted; the same command goes on", flush=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        table.write(page=True)
        print(f"table: {table.runner.folder / 'README.md'}, results.json and index.html beside it")
    if table.failures:
        print(f"{len(table.failures)} not finished, for the reasons above", file=sys.stderr)
        sys.exit(1)


def _table(asked: argparse.Namespace, catalog: Catalog, chosen: list[Experiment]) -> "Table":
    """Return the table of what is asked for, before anything is run; raises a ``ValueError`` where that cannot be."""
    folder = (asked.output or PROJECT / "lightning_logs" / ("reproduce_fast" if asked.fast else "reproduce")).resolve()
    if asked.data_root is not None and not asked.data_root.expanduser().is_dir():
        raise ValueError(f"--data-root {asked.data_root} is not a folder; --fast needs no data")
    if asked.fast and asked.join:
        raise ValueError("--join is for what has been measured, which short runs are not; leave --fast out")
    options = _options(asked.options)
    elsewhere = _joined(asked.join, catalog, options)
    if asked.table and not elsewhere and not (folder / "runs").is_dir():
        raise ValueError(f"{folder} has no runs to write a table of: name another by -o, or leave --table out")
    folder.mkdir(parents=True, exist_ok=True)
    root = (folder / "data" if asked.fast else (asked.data_root or Path("~/.cache/lab")).expanduser()).resolve()
    if asked.fast:
        from lab.reproduce.small_data import make_pictures

        make_pictures(root)
    from lab.reproduce.table import Table

    runner = Runner(catalog, folder, root, asked.fast, options, asked.num_workers)
    runner.check_options()
    if not asked.table:
        return Table(runner, chosen, elsewhere)
    return Table(runner, chosen if asked.names else [], elsewhere, alone=bool(asked.names))


def _options(text: str) -> list[str]:
    """Return the options for every run as words, of which none may be what is set for each run here."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"--options {text!r}: {error}") from None
    for word in words:
        key = word.partition("=")[0]
        if key in OWN_OPTIONS:
            raise ValueError(f"--options: {key} is set for each run; {OWN_OPTIONS[key]}")
    return words


def _parser() -> argparse.ArgumentParser:
    parser = Arguments("Run the experiments of configs/experiments, and write a table of what they measure beside what was "
                       "reported. What has finished is not run again; what was interrupted goes on.")  # fmt: skip
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="experiments, such as s1, 'b3*', or d6 for all that begin so (all)"
    )
    parser.add_argument("--seeds", type=positive, metavar="N", help="seeds 0 to N - 1 (3; with --fast 1)")
    parser.add_argument("--fast", action="store_true", help="short runs on bundled and generated data, to see that all works")
    parser.add_argument(
        "--data-root", "--data_root", type=Path, metavar="ROOT", help="where the data are, or go to (~/.cache/lab)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for runs and table (lightning_logs/reproduce)")
    parser.add_argument("--num_workers", type=positive, default=1, metavar="N", help="runs side by side (1)")
    parser.add_argument("--again", action="store_true", help="run what has finished, too")
    parser.add_argument("--join", type=Path, action="append", default=[], metavar="FILE",
                        help="results.json of another folder or machine, whose seeds count and are not run again; may be "
                        "given again, and the last file that has a seed counts")  # fmt: skip
    parser.add_argument("--table", action="store_true", help="run nothing, but write the table of what there is, or of the "
                        "experiments that are named")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the experiments")
    parser.add_argument("--options", default="", metavar="TEXT", help="added to every run, such as '--trainer.accelerator cpu'")
    return parser


def _joined(paths: list[Path], catalog: Catalog, options: list[str]) -> Elsewhere:
    """Return what was measured elsewhere, the last file first; say what does not count."""
    found: Elsewhere = {}
    for path in paths:
        read, left_out = read_measured(path, catalog, options)
        for words in left_out:
            print(f"{path}: left out {words}", file=sys.stderr)
        for name, seeds in read.items():
            found[name] = {**found.get(name, {}), **seeds}
    return found


def _run_all(table: "Table", asked: list[Seeded], again: bool) -> None:
    """Run the experiments, each beside others, and write the table whenever one has ended."""
    runner = table.runner

    def run(one: Seeded, worker: int) -> tuple[Outcome, float]:
        began = time.monotonic()
        print(f"{one.experiment.name} seed {one.seed} ...", flush=True)
        return runner.run(one.experiment, one.seed, again, worker), time.monotonic() - began

    print(f"{len(asked)} run{'' if len(asked) == 1 else 's'}, printing to {runner.folder / 'logs'}" if asked
          else "nothing is left to run", flush=True)  # fmt: skip
    outcomes = run_side_by_side(asked, run, runner.processes.end, runner.num_workers)
    with contextlib.closing(outcomes):  # an interrupt in between ends what is running
        for outcome, seconds in outcomes:
            if outcome.run is None:
                table.failures[outcome.experiment, outcome.seed] = outcome.reason
            _say(outcome, runner.catalog.experiments[outcome.experiment], runner.fast, seconds)
            table.write()


def _say(outcome: Outcome, experiment: Experiment, fast: bool, seconds: float) -> None:
    from lab.report.run import read_run

    if outcome.run is None:
        found = f"failed: {outcome.reason}"
    else:
        score = (fast and experiment.fast_score) or experiment.score
        found = f"{score} {score_of(read_run(outcome.run), score):.2f}"
        found += f", {seconds:.0f} s" if outcome.is_new else ", already measured"
    print(f"{experiment.name} seed {outcome.seed}: {found}", flush=True)


def _list(chosen: list[Experiment], elsewhere: dict[str, str]) -> None:
    for experiment in chosen:
        reported = f" (reported: {experiment.reported})" if experiment.reported else ""
        print(f"{experiment.name}: {experiment.about}{reported}\n    {experiment.command()}")
    for name, where in elsewhere.items():
        print(f"{name}: {where}")
    print(f"\n{PLACES}")
