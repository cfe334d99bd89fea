import os
from pathlib import Path

import pytest
import torch
from conftest import PROJECT, Script

from lab import busy
from lab.busy import Moment, warning

FAST = ["--config", str(PROJECT / "configs" / "classifier.yaml"), "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
FAST += ["--trainer.limit_train_batches", "2", "--data.num_images_per_class", "8", "--callbacks.pictures", "false"]


@pytest.mark.parametrize(
    ("idle", "own", "num_threads", "num_cores", "free", "advised"),
    [
        (0.5, 0.5, 2, 2, "0.5", 1),
        (0.0, 1.8, 2, 2, "0.9", 1),
        (40.0, 2.0, 32, 32, "21.0", 21),
        (1.5, 1.5, 2, 2, "", 0),
        (2.6, 1.1, 2, 2, "", 0),
        (60.0, 2.0, 32, 32, "", 0),  # a core of many is used by others
        (2.0, 2.0, 8, 2, "", 0),  # more threads than cores, and no other program
        (0.0, 0.5, 1, 2, "", 0),
    ],
)
def test_a_processor_is_busy_where_a_quarter_of_the_cores_for_the_threads_is_neither_idle_nor_ours(
    idle: float, own: float, num_threads: int, num_cores: int, free: str, advised: int
) -> None:
    since, until = Moment(100.0, 7.0, 3.0, num_cores), Moment(102.0, 7.0 + idle, 3.0 + own, num_cores)
    words = warning(since, until, num_threads)
    assert bool(words) == bool(free)
    assert not free or f"{free} cores are free for {num_threads} threads" in words
    assert not free or f"OMP_NUM_THREADS={advised} " in words


def test_nothing_is_said_of_a_moment_or_where_the_system_does_not_tell() -> None:
    first = Moment(100.0, 7.0, 3.0, 2)
    assert warning(first, Moment(100.1, 7.0, 3.0, 2), 2) == ""
    assert warning(None, first, 2) == warning(first, None, 2) == ""


def test_idle_time_is_that_of_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cpu  30 0 3 950 50 0 0\ncpu0 10 0 1 200 20 0 0\ncpu1 10 0 1 300 10 0 0\ncpu10 10 0 1 450 20 0 0\nintr 5\n\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 10}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    moment = busy.now()
    assert moment is not None
    assert moment.idle == pytest.approx(6.9)
    assert moment.num_cores == 2


@pytest.mark.parametrize("text", ["", "cpu  0 0 0 0\ncpu0 0 0 0 0 0 0 0\n", "cpu  5 5 5 5\n", "cpu0 a b c d e\n"])
def test_a_system_that_counts_nothing_does_not_tell(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    assert busy.now() is None


@pytest.mark.parametrize(("idle", "words"), [(0.2, "0.8 cores are free for 2 threads"), (1.4, "")])
def test_a_run_that_is_started_beside_other_programs_says_so(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, idle: float, words: str
) -> None:
    moments = iter([Moment(100.0, 7.0, 3.0, 2), Moment(101.0, 7.0 + idle, 3.6, 2)])
    monkeypatch.setattr(busy, "now", lambda: next(moments))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = script("fit.py", *FAST, "--trainer.default_root_dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert ("WARNING: other programs" in done.stdout) == bool(words)
    assert words in done.stdout
