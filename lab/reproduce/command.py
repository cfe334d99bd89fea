"""What the script does."""

import argparse
import contextlib
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lab.arguments import Arguments, positive, run_command
from lab.reproduce.catalog import Catalog, Experiment, read_catalog
from lab.reproduce.runner import Outcome, Runner
from lab.reproduce.side_by_side import Seeded, run_side_by_side, seeded
from lab.runs import PROJECT, write_json
from lab.writing import whole_file


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
    folder = (asked.output or PROJECT / "lightning_logs" / ("reproduce_fast" if asked.fast else "reproduce")).resolve()
    if asked.data_root is not None and not asked.data_root.expanduser().is_dir():
        raise ValueError(f"--data-root {asked.data_root} is not a folder; --fast needs no data")
    if asked.table and not (folder / "runs").is_dir():
        raise ValueError(f"{folder} has no runs to write a table of: name another by -o, or leave --table out")
    folder.mkdir(parents=True, exist_ok=True)
    root = (folder / "data" if asked.fast else (asked.data_root or Path("~/.cache/lab")).expanduser()).resolve()
    if asked.fast:
        from lab.reproduce.small_data import make_pictures

        make_pictures(root)
    runner = Runner(catalog, folder, root, asked.fast, shlex.split(asked.options), asked.num_workers)
    seeds = range(asked.seeds or (1 if asked.fast else 3))
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # which ends what is running too
    failures: dict[tuple[str, int], str] = {}
    try:
        if not asked.table:
            _run_all(runner, chosen, seeds, asked.again, failures)
    except (KeyboardInterrupt, SystemExit):
        print("interrupted; the same command goes on", flush=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        write_tables(catalog, runner, chosen, failures, page=True)
        print(f"table: {folder / 'README.md'}, results.json and index.html beside it")
    if failures:
        print(f"{len(failures)} not finished, for the reasons above", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = Arguments("Run the experiments of configs/experiments, and write a table of what they measure beside what was "
                       "reported. What has finished is not run again; what was interrupted goes on.")  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, such as s1 or d6 (all)")
    parser.add_argument("--seeds", type=positive, metavar="N", help="seeds 0 to N - 1 (3; with --fast 1)")
    parser.add_argument("--fast", action="store_true", help="short runs on bundled and generated data, to see that all works")
    parser.add_argument(
        "--data-root", "--data_root", type=Path, metavar="ROOT", help="where the data are, or go to (~/.cache/lab)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for runs and table (lightning_logs/reproduce)")
    parser.add_argument("--num_workers", type=positive, default=1, metavar="N", help="runs side by side (1)")
    parser.add_argument("--again", action="store_true", help="run what has finished, too")
    parser.add_argument("--table", action="store_true", help="run nothing, but write the table of what there is")
    parser.add_argument("--list", action="store_true", help="name the experiments")
    parser.add_argument("--options", default="", metavar="TEXT", help="added to every run, such as '--trainer.accelerator cpu'")
    return parser


def _run_all(runner: Runner, chosen: list[Experiment], seeds: range, again: bool, failures: dict[tuple[str, int], str]) -> None:
    """Run the experiments seed by seed, so that each has been run once as soon as may be."""

    def run(one: Seeded, worker: int) -> tuple[Outcome, float]:
        began = time.monotonic()
        print(f"{one.experiment.name} seed {one.seed} ...", flush=True)
        return runner.run(one.experiment, one.seed, again, worker), time.monotonic() - began

    outcomes = run_side_by_side(seeded(chosen, seeds), run, runner.processes.end, runner.num_workers)
    with contextlib.closing(outcomes):  # an interrupt in between ends what is running
        for outcome, seconds in outcomes:
            if outcome.run is None:
                failures[outcome.experiment, outcome.seed] = outcome.reason
            _say(outcome, runner.catalog.experiments[outcome.experiment], runner.fast, seconds)
            write_tables(runner.catalog, runner, chosen, failures)


def _say(outcome: Outcome, experiment: Experiment, fast: bool, seconds: float) -> None:
    from lab.report.run import read_run
    from lab.reproduce.results import score_of

    if outcome.run is None:
        found = f"failed: {outcome.reason}"
    else:
        score = (fast and experiment.fast_score) or experiment.score
        found = f"{score} {score_of(read_run(outcome.run), score):.2f}"
        found += f", {seconds:.0f} s" if outcome.is_new else ", run before"
    print(f"{experiment.name} seed {outcome.seed}: {found}", flush=True)


def write_tables(
    catalog: Catalog, runner: Runner, chosen: list[Experiment], failures: dict[tuple[str, int], str], page: bool = False
) -> None:
    """Write the table of all runs that have finished, as Markdown and JSON, and as a page, which takes its time."""
    from lab.reproduce.markdown import markdown
    from lab.reproduce.questions import answer
    from lab.reproduce.results import measure, record_of

    results = {}
    # What was run before by another command has its row too.
    for experiment in [one for one in catalog.experiments.values() if one in chosen or _seeds(runner, one)]:
        seeds = _seeds(runner, experiment)
        newest = {seed: runner.finished(experiment.name, seed, with_any_options=True) for seed in seeds}
        runs = {seed: run for seed, run in newest.items() if run is not None}
        failed = {seed: reason for (name, seed), reason in failures.items() if name == experiment.name}
        options = {shlex.join(runner.options_of(experiment.name, seed)) for seed in runs} - {""}
        results[experiment.name] = measure(experiment, runs, failed, runner.fast, sorted(options), runner.shared(experiment))
    answers = [found for question in catalog.questions if (found := answer(question, results)) is not None]
    facts: dict[str, Any] = {"command": f"python scripts/reproduce.py {shlex.join(sys.argv[1:])}".strip(), "fast": runner.fast}
    record = record_of(results, answers, facts)
    write_json(runner.folder / "results.json", record)
    texts = {"README.md": markdown(record)}
    if page:
        from lab.reproduce.page import page_of

        texts["index.html"] = page_of(record, results)
    for name, text in texts.items():
        with whole_file(runner.folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8", errors="replace")


def _seeds(runner: Runner, experiment: Experiment) -> list[int]:
    found = (runner.folder / "runs").glob(f"{experiment.name}_seed_*")
    return sorted(int(path.name.rpartition("_")[2]) for path in found if path.name.rpartition("_")[2].isdigit())


def _list(chosen: list[Experiment], elsewhere: dict[str, str]) -> None:
    for experiment in chosen:
        reported = f" (reported: {experiment.reported})" if experiment.reported else ""
        print(f"{experiment.name}: {experiment.about}{reported}\n    {experiment.command()}")
    for name, where in elsewhere.items():
        print(f"{name}: {where}")
