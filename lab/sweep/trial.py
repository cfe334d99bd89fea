"""One trial: its runs, one or one a fold, and their score on validation data."""

import gc
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from optuna.trial import TrialState

from lab.arguments import called_with
from lab.cli import LabCLI
from lab.commands import USER_ERRORS
from lab.runs import note_state, write_traceback
from lab.sweep.sampling import suggest
from lab.sweep.settings import Settings
from lab.sweep.study import Trials


@dataclass
class Outcome:
    """What has become of a trial.

    Args:
        state: complete, pruned or failed.
        values: the best score of each of its runs.
        epochs: how many were trained, in all runs.
        reason: of a failure, or of its end before time.
    """

    state: TrialState = TrialState.COMPLETE
    values: list[float] = field(default_factory=list)
    epochs: int = 0
    reason: str = ""


class Reporter(Checkpoint):
    """Notes a score after each validation; asks whether to go on. Lightning calls it as it does what keeps the best epoch.

    Args:
        monitor: name of the score.
        should_prune: told the number of a score, from 1, and the score; whether to end the run.
    """

    def __init__(self, monitor: str, should_prune: Callable[[int, float], bool]) -> None:
        self.monitor, self.should_prune = monitor, should_prune
        self.scores: list[float] = []
        self.was_pruned = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note a score of validation."""
        if not trainer.sanity_checking and not self.monitor.startswith("train/"):
            self._note(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note a score of training."""
        if self.monitor.startswith("train/"):
            self._note(trainer)

    def _note(self, trainer: Trainer) -> None:
        if self.monitor not in trainer.callback_metrics:
            raise ValueError(f"callbacks.monitor {self.monitor!r} is not among {', '.join(sorted(trainer.callback_metrics))}")
        score = trainer.callback_metrics[self.monitor].item()
        if not abs(score) < float("inf"):
            raise ValueError(f"{self.monitor} is {score}")
        self.scores.append(score)
        epochs, steps = trainer.max_epochs or -1, trainer.max_steps
        is_last = 0 < epochs <= trainer.current_epoch + 1 or 0 < steps <= trainer.global_step
        if self.should_prune(len(self.scores), score) and not is_last:
            self.was_pruned = trainer.should_stop = True


def try_values(trial: optuna.Trial, trials: Trials) -> Outcome:
    """Train with the values of a trial, and score that.

    A run that raises, for whatever reason, is a failure of the trial alone.
    """
    values = {parameter.key: suggest(trial, parameter) for parameter in trials.settings.space}
    settings, outcome, began = trials.settings, Outcome(), time.perf_counter()
    try:
        for fold in range(settings.num_folds) if settings.num_folds else [None]:
            print(f"\ntrial {trial.number}" + f", fold {fold}" * (fold is not None), flush=True)
            _run(trial, settings, settings.of_trial(values, trial.number, fold), outcome)
            if outcome.state is TrialState.PRUNED or (fold is not None and _prunes_after(fold, trial, settings, outcome)):
                break
    except Exception as error:
        traceback.print_exc()
        outcome.state = TrialState.FAIL
        outcome.reason = " ".join(
            (str(error) if isinstance(error, USER_ERRORS) else f"{type(error).__name__}: {error}").split()
        )
    if torch.cuda.is_available():  # whose memory the next trial, or another worker, may need
        gc.collect()
        torch.cuda.empty_cache()
    _record(trial, trials, outcome, time.perf_counter() - began)
    return outcome


def _run(trial: optuna.Trial, settings: Settings, arguments: list[str], outcome: Outcome) -> None:
    def should_prune(step: int, score: float) -> bool:
        if settings.num_folds:
            return False  # folds are compared, and not their epochs
        trial.report(score, step)
        return trial.should_prune()

    reporter = Reporter(settings.monitor, should_prune)
    with called_with(arguments):
        cli = LabCLI()
        note_state(cli.run_folder, "running")
        try:
            cli.trainer.callbacks.append(reporter)  # type: ignore[attr-defined]
            cli.trainer.fit(cli.model, cli.datamodule)
            if not reporter.scores:
                raise ValueError(f"there was no score {settings.monitor} to choose by")
        except Exception as error:
            note_state(cli.run_folder, "failed", f"{type(error).__name__}: {error}")
            if cli.run_folder is not None and not isinstance(error, USER_ERRORS):
                write_traceback(cli.run_folder, error)
            raise
        finally:
            outcome.epochs += cli.trainer.current_epoch
    outcome.values.append((max if settings.mode == "max" else min)(reporter.scores))
    if reporter.was_pruned:
        outcome.state, outcome.reason = TrialState.PRUNED, f"after {len(reporter.scores)} validations"
    note_state(cli.run_folder, "interrupted" if reporter.was_pruned else "finished", "pruned" if reporter.was_pruned else None)


def _prunes_after(fold: int, trial: optuna.Trial, settings: Settings, outcome: Outcome) -> bool:
    trial.report(statistics.fmean(outcome.values), fold + 1)
    if fold + 1 == settings.num_folds or not trial.should_prune():
        return False
    outcome.state, outcome.reason = TrialState.PRUNED, f"after {fold + 1} of {settings.num_folds} folds"
    return True


def _record(trial: optuna.Trial, trials: Trials, outcome: Outcome, seconds: float) -> None:
    value = statistics.fmean(outcome.values) if outcome.values else None
    facts: dict[str, Any] = {"value": value, "values": outcome.values, "epochs": outcome.epochs, "seconds": round(seconds, 1)}
    facts |= {"reason": outcome.reason[:1000]} if outcome.reason else {}
    try:
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        told = value if outcome.state is TrialState.COMPLETE else None
        trials.study.tell(trial, told, state=outcome.state, skip_if_finished=True)
    except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
        print(f"trial {trial.number} was meanwhile given to another process: {error}", flush=True)
