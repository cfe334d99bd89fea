import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Script
from rank_worker import EQUAL, make, run
from test_resume import FAULTY

from lab.commands import _words

TESTS = Path(__file__).parent


def _torchrun(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run([*start, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes find."""
    folder = tmp_path_factory.mktemp("ranks")
    done = _torchrun(str(TESTS / "rank_worker.py"), str(folder / "found.pt"), cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = torch.load(folder / "found.pt", weights_only=True)
    return found


@pytest.fixture(scope="module")
def of_one() -> dict[str, Any]:
    """What one process finds, with batches as large as those of both together."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: run(name, 1) for name in EQUAL}
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_train_as_one_does_on_the_same_global_batches(
    of_one: dict[str, Any], of_two: dict[str, Any], name: str
) -> None:
    alone, together = of_one[name]["weights"], of_two[name]["weights"]
    of_each = re.compile("running_|num_batches")  # what batch norm counts in each process
    untrained = make(name).state_dict()
    weights = [key for key in untrained if key.startswith("encoder.") and key.endswith("weight")]
    assert not any(torch.equal(alone[key], untrained[key]) for key in weights)
    torch.testing.assert_close(
        {key: value for key, value in together.items() if not key.startswith("metrics.") and not of_each.search(key)},
        {key: value for key, value in alone.items() if not key.startswith("metrics.") and not of_each.search(key)},
        atol=1e-5,
        rtol=1e-5,
    )
    assert of_two[name]["logged"]["train/loss"] == pytest.approx(of_one[name]["logged"]["train/loss"], abs=1e-5)


@pytest.mark.parametrize("name", EQUAL)
def test_the_scores_of_two_processes_are_those_of_one_to_the_last_digit(
    of_one: dict[str, Any], of_two: dict[str, Any], name: str
) -> None:
    assert len(of_one[name]["scores"]) >= 3
    assert of_two[name]["scores"] == pytest.approx(of_one[name]["scores"], rel=0, abs=0, nan_ok=True)


def test_both_processes_end_with_the_same_weights(of_two: dict[str, Any]) -> None:
    assert of_two["ranks_agree"]


def test_a_loss_that_is_nan_in_one_process_stops_all_and_the_images_of_that_one_are_named(of_two: dict[str, Any]) -> None:
    stopped = of_two["stopped"]
    assert all(message.startswith("the loss is nan in epoch 1, batch 2") for message in stopped["messages"])
    assert stopped["are_of_that_batch"] == [False, True]
    assert len(stopped["record"]["indices"]) == 12


@pytest.mark.slow
@pytest.mark.parametrize("compared", [False, True])
def test_a_run_that_lightning_starts_on_two_devices_goes_on_there(
    script_process: Script, tmp_path: Path, compared: bool
) -> None:
    small = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.max_epochs", "4", "--data.batch_size", "40",
             "--data.num_images_per_class", "80", "--model.encoder.width", "4", "--callbacks.pictures", "false",
             "--trainer.default_root_dir", ".")  # fmt: skip
    (tmp_path / "faulty.py").write_text(FAULTY)
    fault = json.dumps([{"class_path": "faulty.Fault", "init_args": {"kind": "exception", "step": 15}}])
    config = str(TESTS.parent / "configs" / "classifier.yaml")
    cut = script_process("fit.py", "--config", config, *small, "--name", "cut", "--trainer.callbacks", fault)
    assert "a callback failed" in cut.stderr
    resumed = script_process("fit.py", "--resume", "cut/version_0", "--trust", "faulty")
    assert resumed.returncode == 0, resumed.stderr
    if not compared:
        return
    assert script_process("fit.py", "--config", config, *small, "--name", "whole").returncode == 0
    records = [json.loads((tmp_path / name / "version_0" / "metrics.json").read_text()) for name in ("whole", "cut")]
    assert records[0]["test/accuracy"] == records[1]["test/accuracy"]
    curves = [(tmp_path / name / "version_0" / "metrics.csv").read_text() for name in ("whole", "cut")]
    assert curves[0] == curves[1]


def test_that_another_process_has_ended_is_said_in_words_and_only_where_there_are_several() -> None:
    gloo = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:1")
    assert _words(gloo, 2).startswith("another process of this run has ended, whose error stands above or in its own log [")
    assert "pair.cc:561" in _words(gloo, 2)
    nccl = RuntimeError("NCCL error: remote process exited or there was a network error")
    assert _words(nccl, 8).startswith("another process")
    assert _words(ConnectionResetError("Connection reset by peer"), 1) == "ConnectionResetError: Connection reset by peer"
    assert _words(RuntimeError("shapes do not fit"), 2) == "RuntimeError: shapes do not fit"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["triplet", "siamese"])
def test_torchrun_trains_tests_and_writes_one_run_and_says_the_global_batch_once(tmp_path: Path, name: str) -> None:
    project = TESTS.parent
    small = ["--trainer.accelerator", "cpu", "--trainer.strategy", "ddp", "--trainer.max_epochs", "5",
             "--trainer.default_root_dir", ".", "--data.num_images_per_class", "80", "--model.encoder.width", "4",
             "--callbacks.pictures", "false"]  # fmt: skip
    done = _torchrun(
        str(project / "scripts" / "fit.py"), "--config", str(project / "configs" / f"{name}.yaml"), *small, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("2 devices with 80 images each: batches of 160") == 1
    assert done.stdout.count("best checkpoint: ") == 1
    assert [path.name for path in (tmp_path / name).iterdir()] == ["version_0"]
    assert (tmp_path / name / "version_0" / "metrics.json").is_file()
    assert "collapse/spread" in (tmp_path / name / "version_0" / "metrics.csv").read_text()  # the guard has looked
