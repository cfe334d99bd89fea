"""Going on with a run that was interrupted, in its own folder."""

import contextlib
import csv
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lab.models import read_checkpoint
from lab.options import given
from lab.run_list import is_alive, read_record
from lab.runs import is_main_process
from lab.writing import whole_file


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
        above = next((folder for folder in run.parents[:2] if (folder / "config.yaml").is_file()), None)
        advice = f"; name the folder of the run, {above}" if above else ""
        raise ValueError(f"--resume {named[-1]}: that is no run, it has no config.yaml{advice}")
    if not is_main_process() and given("--config", "-c") == [str(run / "config.yaml")]:
        return run  # started by the main process, with a command line to which all has been added
    if given("--config", "-c"):
        raise ValueError("--resume takes the config of the run: leave --config out")
    if given("--trainer.fast_dev_run"):
        raise ValueError("--resume goes on with a run for good: leave --trainer.fast_dev_run out")
    noted = read_record(run / "state.json")
    if noted.get("state") == "running" and noted.get("machine") == platform.node() and is_alive(noted) and is_main_process():
        raise ValueError(
            f"--resume {named[-1]}: it is running, as process {noted['process']}; end that first (if that is another program, "
            f"remove {run / 'state.json'})"
        )
    record = read_record(run / "metrics.json")
    if record and "epochs" not in record:
        raise ValueError(f"--resume {named[-1]}: that is a test, not a run; test.py --ckpt_path {record.get('checkpoint')}")
    if not given("--ckpt_path") and not any((run / "checkpoints").glob("*.ckpt")):
        again = f"if its config is your own, start it again by fit.py --config {run / 'config.yaml'}"
        raise ValueError(f"--resume {named[-1]}: it has no checkpoint to go on from; {again}")
    if noted.get("state") == "finished" and not given("--trainer.max_epochs"):
        raise ValueError(
            f"--resume {named[-1]}: it has finished; to train it for longer, raise --trainer.max_epochs (not with OneCycleLR)"
        )
    sys.argv[1:1] = ["--config", str(run / "config.yaml")]
    if not given("--ckpt_path"):
        sys.argv += ["--ckpt_path", str(_last_checkpoint(run))]
    return run


@contextlib.contextmanager
def put_back(run: Path | None, unless: Callable[[], bool]) -> Iterator[None]:
    """Put the settings and records of a run that goes on back as they were, where something is wrong before it has."""
    records = [path for ending in ("yaml", "json", "csv", "log") for path in run.glob(f"*.{ending}")] if run is not None else []
    before = {path: path.read_bytes() for path in records if path.is_file()}
    try:
        yield
    except BaseException:
        if not unless() and is_main_process():
            for path, content in before.items():
                with contextlib.suppress(OSError, ValueError):  # which must not hide what is wrong
                    if not path.is_file() or path.read_bytes() != content:
                        with whole_file(path) as unfinished:
                            unfinished.write_bytes(content)
        raise


def _last_checkpoint(run: Path) -> Path:
    """Return ``last.ckpt``, or say which is the newest of the others that are whole."""
    last = run / "checkpoints" / "last.ckpt"
    others = sorted((run / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
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
        table.experiment.metrics = [row for row in rows if _was_logged_before(row, step)]
        table.save()
    return [TensorBoardLogger(**where, default_hp_metric=False, purge_step=step + 1), table]


def _was_logged_before(row: dict[str, Any], step: int) -> bool:
    """Return whether a row was logged before the checkpoint of a step; learning rates are logged with the next batch."""
    number = int(row["step"]) if row.get("step", "").isdigit() else step + 1
    return number < step or (number == step and not any(key.startswith(("lr-", "test/")) for key in row))
