"""What the scripts do."""

import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from lab.cli import LabCLI, given
from lab.models import read_checkpoint
from lab.runs import environment, print_next, print_scores, write_json


def fit() -> None:
    """Train by the command line; then score the best checkpoint on the test split, once, and record all of it."""
    _run(_fit)


def test() -> None:
    """Score a checkpoint by the command line on the test split, by its run's own config unless another is given."""
    _run(_test)


def _fit() -> None:
    cli = LabCLI()
    started = time.perf_counter()
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path, weights_only=True)
    seconds = {"fit": round(time.perf_counter() - started, 1)}
    best = getattr(cli.trainer.checkpoint_callback, "best_model_path", "") or None
    _score(cli, best, seconds, resumed_from=cli.config.ckpt_path)


def _test() -> None:
    paths = given("--ckpt_path")
    if not paths and not {"-h", "--help"} & set(sys.argv):
        raise ValueError("name the checkpoint to test: --ckpt_path lightning_logs/NAME/version_0/checkpoints/best.ckpt")
    own_config = Path(paths[-1]).parent.parent / "config.yaml" if paths else Path()
    if paths:
        read_checkpoint(paths[-1])
    if not given("--config", "-c") and own_config.is_file():
        sys.argv[1:1] = ["--config", str(own_config)]
    cli = LabCLI(suffix="_test")
    _score(cli, cli.config.ckpt_path, {})


def _score(cli: LabCLI, checkpoint: str | None, seconds: dict[str, float], **facts: str | None) -> None:
    """Test, show the scores and what to type next, and write them to the run's folder."""
    started = time.perf_counter()
    cli.trainer.test(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False)
    seconds["test"] = round(time.perf_counter() - started, 1)
    if not cli.trainer.is_global_zero:
        return
    scores = {name: value.item() for name, value in sorted(cli.trainer.callback_metrics.items()) if name.startswith("test/")}
    print_scores(f"{type(cli.model).__name__} on {type(cli.datamodule).__name__}", scores)
    if cli.run_folder is None:
        return
    trained = {"epochs": cli.trainer.fit_loop.epoch_progress.current.completed} if "fit" in seconds else {}
    record = {**scores, **facts, "seed": cli.config.seed_everything, **trained, "seconds": seconds, "checkpoint": checkpoint}
    write_json(cli.run_folder / "metrics.json", {**record, **environment()})
    print_next(cli.run_folder, checkpoint, trained_in=seconds.get("fit"))


def _run(command: Callable[[], None]) -> None:
    """Run a command; what a user got wrong ends it with one line and exit code 2, unless ``--debug`` asks for more."""
    sys.path.insert(0, str(Path.cwd()))  # where a user's own classes are looked for, as with python -m
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")  # advice on worker processes, and its own deprecations
    try:
        command()
    except (ValueError, OSError, MisconfigurationException) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
