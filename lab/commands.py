"""What the scripts do."""

import logging
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lab import busy
from lab.arguments import run_command
from lab.callbacks import TERMINATED, CollapseGuard, Keeper
from lab.cli import LabCLI
from lab.device import device_name
from lab.models import read_checkpoint
from lab.options import given
from lab.resume import go_on_with, put_back
from lab.runs import (
    PROJECT,
    discard_run_folder,
    environment,
    is_main_process,
    note_state,
    print_interrupted,
    print_next,
    print_scores,
    write_json,
    write_table,
    write_traceback,
)
from lab.trust import trust_options

USER_ERRORS = (ValueError, OSError, MisconfigurationException)  # what ends a command with one line
# How gloo and NCCL say, each at length, that a process does not answer.
OTHER_ENDED = re.compile(r"connection (closed|reset) by peer|gloo/transport|remote process exit", re.IGNORECASE)


class Milestones(Callback):
    """What a run has come by: its first step, and the time when its last epoch was over, before anything was drawn."""

    has_stepped = False
    ended = 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        """Note that a step was taken."""
        self.has_stepped = True

    def on_train_epoch_end(self, *_: Any) -> None:
        """Note the time."""
        self.ended = time.perf_counter()


def fit() -> None:
    """Train by the command line; then score the best checkpoint on the test split, once, and record all of it."""
    run_training(_fit)


def test() -> None:
    """Score a checkpoint by the command line on the test split, by its run's own config unless another is given."""
    run_training(_test)


def _fit() -> None:
    began, run, milestones = busy.now(), go_on_with(), Milestones()
    trusted = given("--trust")
    if trusted and run is None:
        raise ValueError("--trust is for --resume, and for test.py without --config: a config that you name may name any class")
    with put_back(run, unless=lambda: milestones.has_stepped):
        cli = LabCLI(run_folder=run, trusted=None if run is None else trusted)
        if cli.trainer.world_size == 1 and cli.trainer.strategy.root_device.type == "cpu":
            busy.warn_if_busy(began, torch.get_num_threads())
        _fit_in(cli, milestones)


def _fit_in(cli: LabCLI, milestones: Milestones) -> None:
    note_state(cli.run_folder, "running")
    try:
        _train_and_score(cli, milestones)
    except BaseException as error:
        if cli.trainer.is_global_zero and not milestones.has_stepped and cli.config.resume is None:
            discard_run_folder(cli.run_folder)
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            by_hand = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
            note_state(cli.run_folder, "interrupted", "by Ctrl-C" if by_hand else "by a signal")
            if cli.run_folder is not None and is_main_process():
                print_interrupted(cli.run_folder, trust_options(cli.asked_for))
            if by_hand:
                raise KeyboardInterrupt from error  # of which Lightning makes an exit
        else:
            words = _words(error, cli.trainer.world_size)
            note_state(cli.run_folder, "failed", words)
            if isinstance(error, Exception) and not isinstance(error, USER_ERRORS) and is_main_process():
                where = f"{write_traceback(cli.run_folder, error)} shows" if cli.run_folder else "--debug shows"
                epoch = cli.trainer.current_epoch + 1
                raise ValueError(f"failed in epoch {epoch}: {words} ({where} where)") from error
        raise
    note_state(cli.run_folder, "finished")


def _words(error: BaseException, world_size: int) -> str:
    if world_size > 1 and OTHER_ENDED.search(str(error)):
        return f"another process of this run has ended, whose error stands above or in its own log [{error}]"
    return f"{type(error).__name__}: {error}"


def _train_and_score(cli: LabCLI, milestones: Milestones) -> None:
    started = time.perf_counter()
    num, of_a_batch = cli.trainer.world_size, getattr(cli.datamodule, "episodes", None) or cli.datamodule
    size = getattr(of_a_batch, "batch_size", None)
    if num > 1 and size is not None and is_main_process():
        print(f"{num} devices with {size} images each: batches of {num * size:,}")
    cli.trainer.callbacks.insert(0, milestones)  # type: ignore[attr-defined]
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path, weights_only=True)
    except Exception as error:
        if milestones.has_stepped or isinstance(error, USER_ERRORS):
            raise
        raise ValueError(
            f"the first training step failed: {_words(error, cli.trainer.world_size)} (--debug shows where)"
        ) from error
    facts: dict[str, Any] = {"resumed_from": cli.config.ckpt_path, "epochs": cli.trainer.current_epoch}
    callbacks = cli.trainer.callbacks  # type: ignore[attr-defined]
    before = next((callback.seconds for callback in callbacks if isinstance(callback, Keeper)), 0.0)
    seconds = {"fit": round(before + max(milestones.ended, started) - started, 1)}
    collapses = [step for callback in callbacks if isinstance(callback, CollapseGuard) for step in callback.collapsed_at]
    facts |= {"collapsed_at_steps": collapses} if collapses else {}
    keeper = cli.trainer.checkpoint_callback
    best = keeper.best_model_path or None if isinstance(keeper, ModelCheckpoint) else None
    if isinstance(keeper, ModelCheckpoint) and best is not None and keeper.best_model_score is not None:
        facts["best_epoch"] = read_checkpoint(best)["epoch"] + 1
        facts["best_score"] = {keeper.monitor: keeper.best_model_score.item()}
    _score(cli, best, seconds, **facts)


def _test() -> None:
    paths = given("--ckpt_path")
    if not paths and not {"-h", "--help"} & set(sys.argv):
        raise ValueError("name the checkpoint to test: --ckpt_path lightning_logs/NAME/version_0/checkpoints/best.ckpt")
    own_config = Path(paths[-1]).resolve().parent.parent / "config.yaml" if paths else Path()
    if paths:
        read_checkpoint(paths[-1])
    if not given("--config", "-c") and paths:
        if not own_config.is_file():
            raise ValueError(f"{paths[-1]} lies in no run's folder, whose config would say what to test on: add --config FILE")
        sys.argv[1:1] = ["--config", str(own_config)]
    # That one has been named by nobody; the other processes of a test are started with all that has been added.
    cli = LabCLI(suffix="_test", trusted=given("--trust") if given("--config", "-c") == [str(own_config)] else None)
    note_state(cli.run_folder, "running")
    try:
        _score(cli, cli.config.ckpt_path, {})
    except BaseException:
        if is_main_process():
            discard_run_folder(cli.run_folder)
        raise
    note_state(cli.run_folder, "finished")


def _score(cli: LabCLI, checkpoint: str | None, seconds: dict[str, float], **facts: Any) -> None:
    """Test, show the scores and what to type next, and write them to the run's folder."""
    started = time.perf_counter()
    cli.trainer.test(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False)
    seconds["test"] = round(time.perf_counter() - started, 1)
    if not cli.trainer.is_global_zero:
        return
    scores = {name: value.item() for name, value in sorted(cli.trainer.callback_metrics.items()) if name.startswith("test/")}
    results = cli.model.metrics.results
    intervals = {f"test/{name}": interval for name, interval in results.intervals.items()} if results is not None else {}
    print_scores(f"{type(cli.model).__name__} on {type(cli.datamodule).__name__}", scores, intervals)
    if cli.run_folder is None:
        return
    if hasattr(cli.datamodule, "test_pictures"):
        write_table(cli.run_folder / "test_pictures.csv", ("file", "class"), cli.datamodule.test_pictures())
    absolute = checkpoint and str(Path(checkpoint).resolve())
    record = {
        **scores,
        "intervals": intervals,
        **facts,
        "seed": cli.config.seed_everything,
        "seconds": seconds,
        "device": device_name(cli.trainer.strategy.root_device),
        "threads": torch.get_num_threads(),  # another number adds up in another order
        "checkpoint": absolute,
    }
    write_json(cli.run_folder / "metrics.json", {**record, **environment()})
    print_next(cli.run_folder, record, trust_options(cli.asked_for), trust_options(cli.asked_for.model))


def run_training(command: Callable[[], None]) -> None:
    """Run a command that trains or tests with Lightning as ``run_command`` does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # but while training, see ``Keeper``
    # Where a user's own classes are; last, so that nothing there is taken for a library, nor a script for what is there.
    sys.path[:] = [*(place for place in sys.path if Path(place).resolve() != PROJECT / "scripts"), str(Path.cwd())]
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # by which a profiler that was asked for reports
    torch.backends.cudnn.deterministic = True  # so that the same command gives the same scores on a GPU too
    warnings.filterwarnings("ignore", module="lightning")  # advice on worker processes, and its own deprecations
    run_command(command, USER_ERRORS)
