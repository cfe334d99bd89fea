"""What a sweep leaves in its folder."""

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from lab.plots import importances, parallel_coordinates, png_bytes
from lab.runs import environment, script, short_path, write_json, write_table
from lab.sweep.checks import read
from lab.sweep.settings import Settings
from lab.sweep.study import Trials
from lab.sweep.words import counted, counts_of, label, ranked, rows_of, std_of
from lab.writing import whole_file


def write_records(trials: Trials, command: str, seconds: float) -> None:
    """Write the table of trials, the facts, and the config of the best trial where there is one."""
    settings, every = trials.settings, trials.all()
    write_table(settings.folder / "trials.csv", *rows_of(every, settings))
    write_json(settings.folder / "sweep.json", _facts(every, settings, command, seconds))
    if ranked(every, settings):
        write_best(every, settings, command)


def write_best(every: list[FrozenTrial], settings: Settings, command: str) -> None:
    """Write the config of the best trial, every setting, as fit.py takes it: with checkpoints and pictures, without folds."""
    best, path = ranked(every, settings)[0], settings.folder / "best.yaml"
    folds = f", the mean of {settings.num_folds} folds (standard deviation {std_of(best) or 0:.4f})" * bool(settings.num_folds)
    head = (
        f"# {script('fit.py')} --config {short_path(path)}\n"
        f"# Trial {best.number}, the best of {counted(every)} of\n# {command}\n"
        f"# {settings.monitor} {best.user_attrs['value']:.4f}{folds}: chosen by validation images, test images not looked at.\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        read(settings.with_values(best.params)).save_config(Path(folder, "best.yaml"))
        text = Path(folder, "best.yaml").read_text(encoding="utf-8")
    with whole_file(path) as unfinished:
        unfinished.write_text(head + text, encoding="utf-8")


def write_pictures(trials: Trials) -> tuple[list[Path], list[str]]:
    """Draw the trials and what their values matter; return the files, and what could not be drawn, and why."""
    settings, every, names = trials.settings, trials.all(), trials.settings.short_names()
    ended = [trial for trial in every if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    drawn = [trial for trial in ended if trial.user_attrs.get("value") is not None]
    if not drawn:
        return [], ["parallel_coordinates.png and importance.png are not drawn: no trial has a score"]
    columns = {}
    for one in settings.space:
        values = [trial.params[one.key] for trial in drawn]
        columns[names[one.key]] = [label(one, value) for value in values] if one.choices else values
    figure = parallel_coordinates(
        columns,
        [trial.user_attrs["value"] for trial in drawn],
        settings.monitor,
        [trial.state is TrialState.COMPLETE for trial in drawn],
        logarithmic=[names[one.key] for one in settings.space if one.log],
        highest_is_best=settings.mode == "max",
        num_failed=counts_of(every)["failed"],
    )
    lines, bars = settings.folder / "parallel_coordinates.png", settings.folder / "importance.png"
    _write(lines, png_bytes(figure))
    shares, why_not = _importances(trials)
    if why_not:
        bars.unlink(missing_ok=True)  # one that was drawn of other trials
        return [lines], [f"importance.png is not drawn: {why_not}"]
    num = len(ranked(every, settings))
    figure = importances({names[key]: share for key, share in shares.items()}, settings.monitor, num)
    _write(bars, png_bytes(figure))
    return [lines, bars], []


def _importances(trials: Trials) -> tuple[dict[str, float], str]:
    """Return the share of each hyperparameter in the variance of the score, or why that cannot be computed."""
    complete = ranked(trials.all(), trials.settings)
    if len(complete) < 2:
        return {}, f"it takes two complete trials, and there {'is one' if complete else 'is none'}"
    if len({trial.user_attrs["value"] for trial in complete}) == 1:
        return {}, "all complete trials have the same score"
    constant = [one.key for one in trials.settings.space if len({trial.params[one.key] for trial in complete}) == 1]
    if constant:
        return {}, f"{' and '.join(constant)} had one value in all complete trials"
    try:
        return get_param_importances(trials.study, evaluator=FanovaImportanceEvaluator(seed=trials.settings.seed)), ""
    except (ValueError, RuntimeError, optuna.exceptions.OptunaError) as error:
        return {}, " ".join(str(error).split())


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def _facts(every: list[FrozenTrial], settings: Settings, command: str, seconds: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "command": command,
        **{name: getattr(settings, name) for name in ("sampler", "pruner", "seed", "num_folds", "num_workers")},
        "score": settings.monitor,
        "mode": settings.mode,
        "trials": counts_of(every),
        "seconds": {
            "trials": round(sum(trial.user_attrs.get("seconds") or 0 for trial in every), 1),
            "this_command": round(seconds, 1),
        },
    }
    for best in ranked(every, settings)[:1]:
        values = {one.key: one.meant(best.params[one.key]) for one in settings.space}
        facts["best"] = {"number": best.number, "value": best.user_attrs["value"], "std": std_of(best), "params": values}
    found = environment()
    found["versions"]["optuna"] = importlib.metadata.version("optuna")
    return {**facts, **found}
