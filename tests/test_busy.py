from pathlib import Path

import pytest
import torch
from conftest import PROJECT, Script

from lab import busy
from lab.busy import Moment, complaint

FAST = ["--config", str(PROJECT / "configs" / "classifier.yaml"), "--trainer.max_epochs", "1"]
FAST += ["--trainer.limit_train_batches", "2", "--data.num_images_per_class", "8", "--callbacks.pictures", "false"]


@pytest.mark.parametrize(
    ("idle", "own", "num_threads", "free"),
    [(0.5, 0.5, 2, "0.5"), (0.0, 1.8, 2, "0.9"), (5.0, 1.0, 4, "3.0"), (1.5, 1.5, 2, ""), (1.9, 1.1, 2, ""), (0.0, 0.5, 1, "")],
)
def test_a_processor_is_busy_where_fewer_cores_are_idle_or_ours_than_there_are_threads(
    idle: float, own: float, num_threads: int, free: str
) -> None:
    since, until = Moment(100.0, 7.0, 3.0), Moment(102.0, 7.0 + idle, 3.0 + own)
    words = complaint(since, until, num_threads)
    assert bool(words) == bool(free)
    assert f"{free} cores are free for {num_threads} threads" in words or not free


def test_nothing_is_said_of_a_moment_or_where_the_system_does_not_tell() -> None:
    first = Moment(100.0, 7.0, 3.0)
    assert complaint(first, Moment(100.1, 7.0, 3.0), 2) == ""
    assert complaint(None, first, 2) == complaint(first, None, 2) == ""


def test_what_is_counted_never_goes_back() -> None:
    first, second = busy.now(), busy.now()
    if first is None or second is None:
        pytest.skip("this system does not tell")
    assert first.time > 0
    assert first.idle >= 0
    assert all(later >= earlier for earlier, later in zip(first, second, strict=True))


def test_a_run_that_is_started_beside_other_programs_says_so(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moments = iter([Moment(100.0, 7.0, 3.0), Moment(101.0, 7.0, 3.6)])
    monkeypatch.setattr(busy, "now", lambda: next(moments))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = script("fit.py", *FAST, "--trainer.default_root_dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "WARNING: other programs use the processor, 0.6 cores are free for 2 threads" in done.stdout
