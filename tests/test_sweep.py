import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT, Script
from sweeps import FEW, LR, arguments, facts, in_this_process, rows, scores, unsynced, with_fault

__all__ = ["in_this_process", "unsynced"]
pytestmark = pytest.mark.usefixtures("in_this_process", "unsynced")


def test_a_sweep_leaves_a_table_the_best_config_facts_and_pictures_and_says_what_to_type_next(
    script: Script, tmp_path: Path
) -> None:
    done = script("sweep.py", *arguments(tmp_path, LR, "--num_trials", "3", "--seed", "4"))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    table, record = rows(out), facts(out)
    assert [(row["number"], row["state"], row["epochs"]) for row in table] == [(str(i), "complete", "2") for i in range(3)]
    for row in table:  # the score is the best of the epochs, as its run has logged it
        assert float(row["value"]) == pytest.approx(max(scores(out / "trials" / row["number"] / "version_0")))
        assert f"trial {row['number']}  complete  val/accuracy {float(row['value']):.4f}" in done.stdout
    best = max(table, key=lambda row: float(row["value"]))
    assert record["best"]["value"] == float(best["value"])
    assert record["best"]["params"] == {"model.optimizer.lr": float(best["model.optimizer.lr"])}
    assert (record["sampler"], record["seed"], record["score"], record["mode"]) == ("tpe", 4, "val/accuracy", "max")
    assert record["trials"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0, "waiting": 0}
    assert "optuna" in record["versions"]
    assert all((out / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("parallel_coordinates", "importance"))
    for run in (out / "trials").glob("*/version_0"):  # nobody has asked for the test images
        assert not (run / "checkpoints").exists() and not (run / "pictures").exists()
        assert "test/" not in (run / "metrics.csv").read_text()

    head, _, settings = (out / "best.yaml").read_text().partition("seed_everything")
    assert "the best of 3 trials (3 complete)" in head and f"{float(best['value']):.4f}" in head
    assert f"# python {PROJECT}/scripts/sweep.py --config tiny.yaml --space space.yaml" in head
    config = yaml.safe_load(f"seed_everything{settings}")
    assert config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == float(best["model.optimizer.lr"])
    assert config["callbacks"]["checkpoints"] and config["callbacks"]["pictures"] and config["callbacks"]["board"]
    assert config["data"]["init_args"]["folds"] is None and config["trainer"]["default_root_dir"] is None
    assert f"next:\n  python {PROJECT}/scripts/fit.py --config out/best.yaml" in done.stdout

    # It trains as the trial did, and then may look at the test images.
    undrawn = ("--callbacks.pictures", "false", "--callbacks.board", "false")
    fitted = script("fit.py", "--config", "out/best.yaml", "--trainer.default_root_dir", "runs", *undrawn)
    assert fitted.returncode == 0, fitted.stderr
    assert max(scores(tmp_path / "runs" / "tiny" / "version_0")) == pytest.approx(record["best"]["value"])

    # Another sweep is refused there, and this one has nothing left to do.
    refused = script("sweep.py", *arguments(tmp_path, LR.replace("0.3", "0.2"), "--num_trials", "3", "--seed", "4"))
    said = (
        f"error: {out} holds a sweep with another space: give this one a folder of its own by --output, or go on with that one"
    )
    assert (refused.returncode, refused.stderr.partition(" by its command: ")[0]) == (2, said)
    assert len(refused.stderr.splitlines()) == 1 and "--num_trials 3 --seed 4" in refused.stderr
    assert rows(out) == table


@pytest.mark.slow
def test_trials_that_have_failed_are_tried_again_with_their_values_where_that_is_asked_for(
    script: Script, tmp_path: Path
) -> None:
    space = "model.optimizer.lr: {choices: [0.1]}\nmodel.encoder.hidden_sizes: {choices: [[4, 5]]}\n"
    sweep = arguments(tmp_path, space, *FEW, "--sampler", "grid", *with_fault(raises=0.1))
    done = script("sweep.py", *sweep)
    out = tmp_path / "out"
    assert done.returncode == 2
    assert "trial 0  failed" in done.stdout
    assert "parallel_coordinates.png and importance.png are not drawn: no trial has a score" in done.stdout
    assert done.stderr.splitlines()[-1] == "error: no trial was completed; out/trials.csv has the reasons"
    assert not (out / "best.yaml").exists()
    (failed,) = rows(out)
    assert (failed["state"], failed["value"], failed["reason"]) == ("failed", "", "RuntimeError: out of luck")
    assert "RuntimeError: out of\nluck" in (out / "trials" / "0" / "version_0" / "traceback.txt").read_text()

    (tmp_path / "faulty.py").write_text((tmp_path / "faulty.py").read_text().replace("== self.raises", "is self"))
    again = script("sweep.py", *sweep, "--retry_failed")
    assert again.returncode == 0, again.stderr
    assert "1 failed trials are tried once more" in again.stdout
    assert "importance.png is not drawn: it takes two complete trials, and there is one" in again.stdout
    _, retried = rows(out)
    assert retried["state"] == "complete"
    for key, value in (("model.optimizer.lr", "0.1"), ("model.encoder.hidden_sizes", "[4, 5]")):
        assert failed[key] == retried[key] == value
    assert facts(out)["best"]["params"]["model.encoder.hidden_sizes"] == [4, 5]


def test_folds_are_averaged_and_the_best_config_has_none(script: Script, tmp_path: Path) -> None:
    done = script("sweep.py", *arguments(tmp_path, LR, *FEW, "--num_trials", "1", "--num_folds", "3"))
    assert done.returncode == 0, done.stderr
    (row,) = rows(tmp_path / "out")
    runs = [tmp_path / "out" / "trials" / "0" / f"fold_{i}" / "version_0" for i in range(3)]
    values = [max(scores(run)) for run in runs]
    folds = [yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["folds"] for run in runs]
    assert folds == [{"num": 3, "held_out": i} for i in range(3)]
    assert len(set(values)) > 1
    assert float(row["value"]) == pytest.approx(statistics.fmean(values))
    assert float(row["std"]) == pytest.approx(statistics.stdev(values))
    assert row["epochs"] == "3"
    assert yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())["data"]["init_args"]["folds"] is None
    assert "the mean of 3 folds" in (tmp_path / "out" / "best.yaml").read_text()


@pytest.mark.parametrize("folds", [(), pytest.param(("--num_folds", "2"), marks=pytest.mark.slow)])
def test_a_trial_that_is_worse_than_the_median_is_given_up_early(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: tuple[str, ...]
) -> None:
    from lab.sweep import crew
    from lab.sweep.study import Trials

    inline = crew.start_worker

    def five_without_loss_and_one_trained(settings: Any, place: int) -> Any:
        for _ in range(5):  # after which the median is known
            trial = Trials(settings).take()
            assert trial is not None
            trial.report(0.0, 1)
            for name in ("value", "epochs", "seconds"):
                trial.set_user_attr(name, 0)
            trial.suggest_float("model.optimizer.lr", 0.001, 0.3, log=True)
            Trials(settings).study.tell(trial, 0.0)
        return inline(settings, place)

    monkeypatch.setattr(crew, "start_worker", five_without_loss_and_one_trained)
    epochs = ("--trainer.max_epochs", "1" if folds else "2", "--callbacks.monitor", "val/loss", "--pruner", "median")
    done = script("sweep.py", *arguments(tmp_path, LR, "--num_trials", "6", *epochs, *folds))
    assert "trial 5  pruned  val/loss" in done.stdout, done.stderr
    last = rows(tmp_path / "out")[5]
    assert (last["state"], last["epochs"]) == ("pruned", "1")
    assert last["reason"] == ("after 1 of 2 folds" if folds else "after 1 validations")
    assert facts(tmp_path / "out")["mode"] == "min"  # the lowest loss is best
    assert facts(tmp_path / "out")["best"]["value"] == 0


def test_the_default_folder_is_among_the_runs_and_has_the_name_of_the_config(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.sweep import command

    found = []
    monkeypatch.setattr(command, "_search", lambda trials, retries: found.append(trials.settings))
    sweep = arguments(tmp_path, LR, "--trainer.default_root_dir", "runs")
    done = script("sweep.py", *[argument for argument in sweep if argument not in ("--output", "out")])
    assert done.returncode == 0, done.stderr
    assert found[0].folder == tmp_path / "runs" / "tiny_sweep"


def test_optuna_that_is_not_there_is_asked_for(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = script("sweep.py", *arguments(tmp_path, LR))
    assert (done.returncode, done.stderr) == (2, "error: a sweep needs Optuna: pip install -e '.[sweep]'\n")
