"""Going on with a run that was interrupted, in its own folder."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lab.models import read_checkpoint
from lab.options import given
from lab.runs import is_main_process


def go_on_with() -> Path | None:
    """Return the folder that ``--resume`` names, and add its config and its newest checkpoint to the command line.

    Returns:
        None, where nothing is to be resumed.

    Raises:
        ValueError: if it is no run, has finished, or has no whole checkpoint; naming what there is.
    """
    named = given("--resume")
    if not named:
        return None
    run = Path(named[-1]).resolve()
    if not (run / "config.yaml").is_file():
        raise ValueError(f"--resume {named[-1]}: that is no run, it has no config.yaml")
    if given("--config", "-c"):
        raise ValueError("--resume takes the config of the run: leave --config out")
    if given("--trainer.fast_dev_run"):
        raise ValueError("--resume goes on with a run for good: leave --trainer.fast_dev_run out")
    state = run / "state.json"
    finished = state.is_file() and json.loads(state.read_text(encoding="utf-8")).get("state") == "finished"
    if finished and not given("--trainer.max_epochs"):
        raise ValueError(f"--resume {named[-1]}: it has finished; to train it for longer, raise --trainer.max_epochs")
    sys.argv[1:1] = ["--config", str(run / "config.yaml")]
    if not given("--ckpt_path"):
        sys.argv += ["--ckpt_path", str(_last_checkpoint(run))]
    return run


def _last_checkpoint(run: Path) -> Path:
    """Return ``last.ckpt``, or say which is the newest of the others that are whole."""
    last = run / "checkpoints" / "last.ckpt"
    others = sorted((run / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    if not others:
        raise ValueError(f"{run} has no checkpoint to go on from: start it again by fit.py --config {run / 'config.yaml'}")
    try:
        read_checkpoint(last)
    except ValueError as error:
        whole = next((path for path in others if path != last and _is_whole(path)), None)
        advice = f"the newest that is whole is {whole}: add --ckpt_path {whole}" if whole else "there is no other that is whole"
        raise ValueError(f"{error}; {advice}") from error
    return last


def _is_whole(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except ValueError:
        return False
    return True


def loggers(run: Path, checkpoint: str | None) -> list[Logger]:
    """Make TensorBoard's logger and that of ``metrics.csv``, which keep what was logged until a checkpoint was written.

    Args:
        run: the folder of the run.
        checkpoint: from which the run goes on there; None for a new run.
    """
    where: dict[str, Any] = {"save_dir": run.parent.parent, "name": run.parent.name, "version": run.name}
    if checkpoint is None:
        return [TensorBoardLogger(**where, default_hp_metric=False), CSVLogger(**where)]
    step = read_checkpoint(checkpoint)["global_step"]
    rows: list[dict[str, Any]] = []
    if (run / "metrics.csv").is_file():
        with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = [{key: value for key, value in row.items() if key and value} for row in csv.DictReader(file)]
    table = CSVLogger(**where)
    if is_main_process():
        table.experiment.metrics = [row for row in rows if row.get("step", "").isdigit() and int(row["step"]) < step]
        table.save()
    return [TensorBoardLogger(**where, default_hp_metric=False, purge_step=step), table]
