import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sweeps import LR, settings, unsynced

from lab.sweep.sampling import suggest
from lab.sweep.study import Trials
from lab.sweep.words import command_of_this

__all__ = ["unsynced"]
pytestmark = pytest.mark.usefixtures("unsynced")
TWO = LR + "data.batch_size: {low: 10, high: 30}\nmodel.encoder.dropout: {choices: [0.0, 0.1, 0.2]}\n"
GRID = "a.b: {choices: [1, null, [2, 3]]}\na.c: {low: 0.0, high: 0.3, step: 0.1}\n"


def _work(trials: Trials, num: int = 100) -> list[dict[str, Any]]:
    """Take trials and tell each a score, as a worker does, and return their values."""
    found: list[dict[str, Any]] = []
    while len(found) < num and (trial := trials.take()) is not None:
        values = {parameter.key: suggest(trial, parameter) for parameter in trials.settings.space}
        trials.study.tell(trial, sum(value for value in values.values() if isinstance(value, float)))
        found.append(values)
    return found


def _planned(*arguments: Any, **options: Any) -> Trials:
    trials = Trials(settings(*arguments, **options))
    trials.check_same()
    trials.plan()
    return trials


@pytest.mark.parametrize("sampler", [pytest.param("random", marks=pytest.mark.slow), "tpe"])
def test_the_same_seed_gives_the_same_trials_interrupted_or_not_and_another_gives_others(tmp_path: Path, sampler: str) -> None:
    options = {"sampler": sampler, "num_trials": 12}  # of which tpe models the last two
    whole = _work(_planned(tmp_path / "a", TWO, **options))
    begun = _work(_planned(tmp_path / "b", TWO, **options), 11)
    assert begun + _work(_planned(tmp_path / "b", TWO, **options)) == whole
    assert len({values["model.optimizer.lr"] for values in whole}) == 12
    assert _work(_planned(tmp_path / "c", TWO, seed=1, **options), 2) != whole[:2]


def test_a_grid_is_visited_point_by_point_or_some_of_it_at_random_with_which_more_begin(tmp_path: Path) -> None:
    whole = _work(_planned(tmp_path / "a", GRID, sampler="grid", num_trials=None))
    assert whole == [{"a.b": b, "a.c": c} for b in (1, None, "[2, 3]") for c in (0.0, 0.1, 0.2, 0.3)]
    some = _work(_planned(tmp_path / "b", GRID, sampler="grid", num_trials=3))
    more = _work(_planned(tmp_path / "b", GRID, sampler="grid", num_trials=5))
    assert some != whole[:3]
    assert _work(_planned(tmp_path / "c", GRID, sampler="grid", num_trials=5)) == some + more
    rest = _work(_planned(tmp_path / "b", GRID, sampler="grid", num_trials=None))
    assert sorted(map(str, some + more + rest)) == sorted(map(str, whole))


def test_no_trial_is_taken_twice_by_workers_at_once(tmp_path: Path) -> None:
    shared = _planned(tmp_path, num_trials=12, sampler="random").settings
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: _work(Trials(shared)), range(3)))
    values = [one["model.optimizer.lr"] for worker in found for one in worker]
    assert len(values) == len(set(values)) == 12


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sampler": "random"}, "sampler (tpe)"),
        ({"seed": 1}, "seed (0)"),
        (
            {"config": {"data.seed": 1, "model.rows": 2, "trainer.max_epochs": None}},
            "config (data.seed 0 there, 1 here; trainer.max_epochs not there, null here)",
        ),
        (
            {"config": {"data.seed": 1, "model.rows": 3, "a": "x", "b": 2, "c": 3}},
            'config (data.seed 0 there, 1 here; model.rows 2 there, 3 here; a not there, "x" here; and 2 more)',
        ),
        ({"config": {"data.seed": 0}}, "config (model.rows 2 there, not here)"),
        ({"num_folds": 3}, "num_folds"),
        ({"pruner": "median", "monitor": "val/loss"}, "score and pruner (none)"),
    ],
)
def test_a_folder_takes_no_trials_of_another_sweep_but_more_of_its_own(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    _planned(tmp_path, num_trials=2)
    assert len(_planned(tmp_path, num_trials=3).all()) == 3
    assert _planned(tmp_path, num_trials=1).plan() == 3
    with pytest.raises(ValueError, match="holds a sweep with another") as refused:
        _planned(tmp_path, **changed)
    assert f"with another {said}:" in str(refused.value)


def test_an_option_that_has_come_since_a_sweep_began_makes_no_other_sweep_of_it_where_it_is_the_default(tmp_path: Path) -> None:
    _planned(tmp_path, num_trials=2)
    config = {"data.seed": 0, "model.rows": 2, "callbacks.new": True}
    assert len(_planned(tmp_path, num_trials=3, config=config, defaults={"callbacks.new": True, "data.seed": 7}).all()) == 3
    with pytest.raises(ValueError, match=r"callbacks\.new false there, true here"):
        _planned(tmp_path, num_trials=3, config=config, defaults={"callbacks.new": False})


def test_a_trial_whose_process_is_gone_waits_again_with_its_values(tmp_path: Path) -> None:
    trials = _planned(tmp_path, num_trials=3)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    taken = [trials.take() for _ in range(3)]
    for trial, process in zip(taken, (gone.pid, os.getpid(), gone.pid), strict=True):
        assert trial is not None
        suggest(trial, trials.settings.space[0])
        trial.set_user_attr("process", {"process": process, "machine": platform.node()})
    taken[2].set_user_attr("process", {"process": gone.pid, "machine": "another"})  # type: ignore[union-attr]
    assert trials.put_back_lost() == 1
    assert [trial.state for trial in trials.all()] == [TrialState.WAITING, TrialState.RUNNING, TrialState.RUNNING]
    again = trials.take()
    assert again is not None and again.number == 0
    assert suggest(again, trials.settings.space[0]) == taken[0].params["model.optimizer.lr"]  # type: ignore[union-attr]


def test_a_trial_of_another_machine_that_is_silent_for_long_waits_again(tmp_path: Path) -> None:
    trials = _planned(tmp_path, num_trials=1)
    trial = trials.take()
    assert trial is not None
    trial.set_user_attr("process", {"process": 1, "machine": "another"})
    assert trials.put_back_lost() == 0
    trials.storage.grace_period = -1  # as if so much time had gone by
    assert trials.put_back_lost() == 1


def test_a_trial_of_which_its_process_dies_twice_has_failed(tmp_path: Path) -> None:
    trials = _planned(tmp_path, num_trials=1)
    for said in ("it is tried once more", "failed: its process was ended twice, by SIGKILL"):
        assert trials.take() is not None
        assert said in trials.note_death(trials.all()[0], "SIGKILL")
    assert trials.all()[0].state is TrialState.FAIL
    assert trials.retry_failed() == 1
    assert trials.retry_failed() == 0  # which waits already


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nothing", "--storage nothing cannot be opened: Could not parse"),
        ("postgres://me:secret@host/name", "--storage postgres://me:***@host/name cannot be opened"),
        ("sqlite:////nowhere/at/all.db", "cannot be opened: unable to open database file"),
    ],
)
def test_a_storage_that_cannot_be_is_named_without_its_password(tmp_path: Path, url: str, said: str) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="--storage") as refused:
        Trials(replace(settings(tmp_path), storage=url))
    assert said in str(refused.value) and "secret" not in str(refused.value)


def test_the_command_that_is_kept_has_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    url = "postgresql://me:secret@host/name"
    for given in (["--storage", url], [f"--storage={url}"]):
        monkeypatch.setattr(sys, "argv", ["sweep.py", *given])
        kept = command_of_this(replace(settings(tmp_path), storage=url), "python sweep.py")
        assert "secret" not in kept and "me:***@host" in kept
