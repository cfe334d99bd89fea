import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PROJECT, Script
from sweeps import FEW, LR, arguments, facts, rows, with_fault

GRID = "model.optimizer.lr: {choices: [0.01, 0.02]}\nmodel.encoder.hidden_sizes: {choices: [[4], [8, 4]]}\n"


def _start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(PROJECT / "scripts" / "sweep.py"), *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def _is_there(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _processes(folder: Path) -> list[int]:
    """Return the processes that write into a folder's logs."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/out/worker_" in (path / "cmdline").read_text():
                found.append(int(path.name))
    return found


@pytest.mark.slow
def test_two_workers_visit_each_point_of_a_grid_once_and_one_that_raises_does_not_end_it(
    script: Script, tmp_path: Path
) -> None:
    sweep = arguments(tmp_path, GRID, *FEW, "--sampler", "grid", "--num_workers", "2", *with_fault(raises=0.02))
    done = script("sweep.py", *sweep)
    assert done.returncode == 0, done.stderr
    table = rows(tmp_path / "out")
    points = [(row["model.optimizer.lr"], row["model.encoder.hidden_sizes"], row["state"]) for row in table]
    assert points == [
        ("0.01", "[4]", "complete"),
        ("0.01", "[8, 4]", "complete"),
        ("0.02", "[4]", "failed"),
        ("0.02", "[8, 4]", "failed"),
    ]
    lines = [line for line in done.stdout.splitlines() if line.startswith("trial ")]
    assert sorted(line.split()[1] for line in lines) == ["0", "1", "2", "3"]
    assert any("RuntimeError: out of luck" in line for line in lines)
    logs = [(tmp_path / "out" / f"worker_{i}.log").read_text() for i in range(2)]
    assert all("epoch 1/1" in log or "RuntimeError" in log for log in logs)  # both had a part in it
    assert "epoch 1/1" not in done.stdout  # what training prints is in the logs
    assert facts(tmp_path / "out")["best"]["number"] in (0, 1)


@pytest.mark.slow
def test_a_trial_whose_process_is_killed_is_tried_once_more_and_then_has_failed(script: Script, tmp_path: Path) -> None:
    space = "model.optimizer.lr: {choices: [0.01, 0.02, 0.03]}\n"
    sweep = arguments(tmp_path, space, *FEW, "--sampler", "grid", *with_fault(dies=0.02, dies_once=0.03))
    done = script("sweep.py", *sweep)
    assert done.returncode == 0, done.stderr
    assert "trial 1: its process was ended by SIGKILL; it is tried once more" in done.stdout
    table = rows(tmp_path / "out")
    assert [row["state"] for row in table] == ["complete", "failed", "complete"]
    assert table[1]["reason"] == "its process was ended twice, by SIGKILL: memory may have run out"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_was_ended_goes_on_by_the_same_command_with_the_trials_that_it_would_have_had(
    script: Script, tmp_path: Path, how: signal.Signals
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "ended").mkdir()
    more = ("--num_trials", "5", "--trainer.max_epochs", "10", "--sampler", "random")
    for name in ("whole", "ended"):
        sweep = arguments(tmp_path / name, LR, *more)
        process = _start(tmp_path / name, *sweep)
        assert process.stdout is not None
        for line in process.stdout:
            if name == "ended" and line.startswith("trial 1"):
                time.sleep(0.3)  # in the middle of the next one
                process.send_signal(how)
                break
        output = process.stdout.read()
        process.wait(60)
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    assert ("interrupted; to go on:" in output) == (how != signal.SIGKILL)
    began = time.monotonic()
    while _processes(tmp_path / "ended") and time.monotonic() - began < 10:
        time.sleep(0.1)
    assert not _processes(tmp_path / "ended")  # which end with the sweep
    process = _start(tmp_path / "ended", *sweep)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "trial 0 " not in output and "trial 4 " in output
    assert rows(tmp_path / "ended" / "out") == rows(tmp_path / "whole" / "out")


@pytest.mark.slow
def test_a_worker_that_is_killed_from_outside_is_started_again(tmp_path: Path) -> None:
    sweep = arguments(tmp_path, LR, "--num_trials", "4", "--trainer.max_epochs", "10")
    process = _start(tmp_path, *sweep)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("trial 0"):
            time.sleep(0.3)
            (worker,) = _processes(tmp_path)
            os.kill(worker, signal.SIGKILL)
            break
    output = process.stdout.read()
    assert process.wait(120) == 0
    assert "its process was ended by SIGKILL; it is tried once more" in output
    assert [row["state"] for row in rows(tmp_path / "out")] == ["complete"] * 4
    assert not _is_there(worker)


def test_workers_that_cannot_begin_end_the_sweep_with_the_reason(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.sweep import crew

    def fails(settings: object, place: int) -> "subprocess.Popen[str]":
        crew.log_of(settings, place).write_text("a line\nImportError: no such thing\n")  # type: ignore[arg-type]
        process = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"], text=True)
        process.wait()
        return process

    monkeypatch.setattr(crew, "start_worker", fails)
    done = script("sweep.py", *arguments(tmp_path, LR, "--num_trials", "2"))
    assert done.returncode == 2
    said = "error: workers end before they take a trial, by exit code 3: ImportError: no such thing"
    assert done.stderr.startswith(said)
