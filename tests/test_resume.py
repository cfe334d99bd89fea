import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import PROJECT, Script

from lab.models.schedule import check_schedule

CONFIGS = {
    "classifier": ("classifier.yaml", ()),
    "siamese": ("siamese.yaml", ("--model.head", "logistic", "--model.loss", "null")),
    "triplet": ("triplet.yaml", ("--model.encoder", "lab.nets.MLP", "--model.encoder.dropout", "0.2")),
    "split_image": (
        "split_image.yaml",
        ("--model.scheduler", "torch.optim.lr_scheduler.StepLR", "--model.scheduler.step_size", "1"),
    ),
}
SMALL = (
    *("--trainer.accelerator", "cpu", "--trainer.default_root_dir", ".", "--trainer.max_epochs", "4"),
    *("--callbacks.pictures", "false", "--callbacks.board", "false", "--callbacks.save_every_n_steps", "3"),
    *("--data.num_images_per_class", "70", "--data.batch_size", "40"),  # 17 steps an epoch
)
FAULTY = '''
import os, signal
from lightning.pytorch import Callback

class Fault(Callback):
    """Does something to the process after a step, before any other callback can know of it, or after an epoch's validation."""
    def __init__(self, kind: str, step: int):
        self.kind, self.step = kind, step
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step and not os.path.exists("done"):
            open("done", "w").close()
            if self.kind == "exception":
                raise RuntimeError("a callback failed")
            os.kill(os.getpid(), getattr(signal, self.kind))
'''


def _arguments(name: str, *more: str) -> list[str]:
    config, own = CONFIGS[name]
    width = ("--model.encoder.hidden_sizes", "[16]") if name == "triplet" else ("--model.encoder.width", "4")
    per_class = ("--data.samples_per_class", "4") if name in ("siamese", "triplet") else ()
    return ["--config", str(PROJECT / "configs" / config), *own, *width, *per_class, *SMALL, *more]


def _with_fault(folder: Path, name: str, kind: str, step: int) -> list[str]:
    (folder / "faulty.py").write_text(FAULTY)
    fault = {"class_path": "faulty.Fault", "init_args": {"kind": kind, "step": step}}
    return _arguments(name, "--trainer.callbacks", json.dumps([fault]))


def _state(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((run / "state.json").read_text())
    return state


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of runs that were never interrupted, by family."""
    from lab.commands import fit

    found = {}
    for name in CONFIGS:
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as context:
            context.chdir(folder)
            context.setattr(sys, "argv", ["fit.py", *_arguments(name)])
            fit()
        found[name] = folder / name / "version_0"
    return found


def _assert_same(run: Path, other: Path) -> None:
    """Make sure that two runs have left the same weights, scores and curves, bit for bit."""
    for name in ("last", "best"):
        one, two = (torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for folder in (run, other))
        assert one["state_dict"].keys() == two["state_dict"].keys()
        assert all(torch.equal(one["state_dict"][key], two["state_dict"][key]) for key in one["state_dict"])
        assert (one["epoch"], one["global_step"]) == (two["epoch"], two["global_step"])
    records = [json.loads((folder / "metrics.json").read_text()) for folder in (run, other)]
    compared = [name for name in records[0] if name.startswith(("test/", "best_", "intervals", "epochs"))]
    assert len(compared) > 5
    assert all(records[0][name] == records[1][name] for name in compared)
    lines = [(folder / "epochs.log").read_text().splitlines() for folder in (run, other)]
    assert [line.rpartition("  ")[0] for line in lines[0]] == [line.rpartition("  ")[0] for line in lines[1]]  # but seconds
    assert (run / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("name", "kind", "step"),
    [
        ("classifier", "SIGTERM", 22),  # in the middle of the second epoch
        pytest.param("siamese", "SIGTERM", 22, marks=pytest.mark.slow),
        ("triplet", "SIGTERM", 22),
        pytest.param("split_image", "SIGTERM", 22, marks=pytest.mark.slow),
        pytest.param("split_image", "SIGTERM", 34, marks=pytest.mark.slow),  # with the last step of an epoch
        pytest.param("classifier", "SIGTERM", 1, marks=pytest.mark.slow),
        pytest.param("classifier", "SIGTERM", 20, marks=pytest.mark.slow),  # a step whose loss is logged
        ("triplet", "exception", 35),
        pytest.param("classifier", "exception", 68, marks=pytest.mark.slow),  # with the last step of all
    ],
)
def test_a_run_that_was_interrupted_goes_on_as_if_it_never_had_been(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path, name: str, kind: str, step: int
) -> None:
    arguments = _with_fault(tmp_path, name, kind, step)
    run = tmp_path / name / "version_0"
    if kind == "exception":
        failed = script("fit.py", *arguments)
        assert failed.returncode == 2
        where = f"({name}/version_0/traceback.txt shows where)"
        said = f"error: failed in epoch {1 + (step - 1) // 17}: RuntimeError: a callback failed {where}"
        assert failed.stderr.strip().splitlines()[-1] == said
        traceback = (run / "traceback.txt").read_text()
        assert 'raise RuntimeError("a callback failed")' in traceback and "faulty.py" in traceback
        assert _state(run)["state"] == "failed"
        assert _state(run)["reason"] == "RuntimeError: a callback failed"
    else:
        stopped = script("fit.py", *arguments)
        assert stopped.returncode == 128 + signal.SIGTERM
        assert f"interrupted; to go on:\n  python {PROJECT}/scripts/fit.py --resume {name}/version_0" in stopped.stdout
        assert (_state(run)["state"], _state(run)["reason"]) == ("interrupted", "by a signal")
        steps = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
        assert steps == step
    resumed = script("fit.py", "--resume", f"{name}/version_0", "--trust", "faulty")
    assert resumed.returncode == 0, resumed.stderr
    assert _state(run)["state"] == "finished"
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    _assert_same(run, uninterrupted[name])


def test_a_run_that_was_killed_goes_on_as_if_it_never_had_been(
    uninterrupted: dict[str, Path], script: Script, script_process: Script, tmp_path: Path
) -> None:
    killed = script_process("fit.py", *_with_fault(tmp_path, "triplet", "SIGKILL", 22))
    assert killed.returncode == -signal.SIGKILL
    run = tmp_path / "triplet" / "version_0"
    assert _state(run)["state"] == "running"
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 21
    resumed = script("fit.py", "--resume", "triplet/version_0", "--trust", "faulty")
    assert resumed.returncode == 0, resumed.stderr
    _assert_same(run, uninterrupted["triplet"])


@pytest.mark.slow
def test_a_run_goes_on_from_its_best_epoch_where_that_is_asked_for(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path
) -> None:
    arguments = _with_fault(tmp_path, "classifier", "exception", 40)
    assert "a callback failed" in script("fit.py", *arguments).stderr
    best = "classifier/version_0/checkpoints/best.ckpt"
    resumed = script("fit.py", "--resume", "classifier/version_0", "--ckpt_path", best, "--trust", "faulty")
    assert resumed.returncode == 0, resumed.stderr
    _assert_same(tmp_path / "classifier" / "version_0", uninterrupted["classifier"])


def test_a_run_that_was_moved_and_interrupted_while_it_was_scored_is_scored_by_its_best_epoch(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted["classifier"], tmp_path / "elsewhere" / "run")
    for name in ("state.json", "metrics.json"):
        (tmp_path / "elsewhere" / "run" / name).unlink()
    done = script("fit.py", "--resume", "elsewhere/run")
    assert done.returncode == 0, done.stderr
    before, after = (
        json.loads((run / "metrics.json").read_text()) for run in (uninterrupted["classifier"], tmp_path / "elsewhere" / "run")
    )
    assert after["test/accuracy"] == before["test/accuracy"]
    assert after["best_score"] == before["best_score"]
    assert after["checkpoint"] == str(tmp_path / "elsewhere" / "run" / "checkpoints" / "best.ckpt")


def test_a_mistake_while_going_on_costs_nothing_of_the_run(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted["classifier"], run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    longer, no_schedule = ["--trainer.max_epochs", "5"], ["--model.optimizer.lr", "0.1"]
    for wrong in (
        ["--trainer.strategy", "foo"],
        ["--trainer.fast_dev_run", "true"],
        ["--model.encoder.widht", "3"],
        [],
        no_schedule,
    ):
        done = script("fit.py", "--resume", "run", *longer, *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name}
        assert after == {path: content for path, content in before.items() if "tfevents" not in path.name}


def test_a_run_that_is_running_is_not_gone_on_with(uninterrupted: dict[str, Path], script: Script, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted["classifier"], run)
    state = _state(run)
    for noted, said in (({**state, "state": "running", "process": os.getpid()}, f"it is running, as process {os.getpid()}"),
                        ({**state, "machine": "another", "state": "running"}, "")):  # fmt: skip
        (run / "state.json").write_text(json.dumps(noted))
        done = script("fit.py", "--resume", "run")
        assert said in done.stderr
        assert done.returncode == (2 if said else 0), done.stderr


@pytest.mark.parametrize("noted", ["[]", "{", "null"])
def test_a_state_that_cannot_be_read_keeps_nobody_from_going_on(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path, noted: str
) -> None:
    shutil.copytree(uninterrupted["classifier"], tmp_path / "run")
    (tmp_path / "run" / "state.json").write_text(noted)
    assert script("fit.py", "--resume", "run").returncode == 0


def test_a_checkpoint_in_which_bytes_have_changed_is_refused(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted["classifier"], run)
    (run / "state.json").unlink()
    last = run / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(byte ^ 255 for byte in content[middle : middle + 100])
    last.write_bytes(content)
    done = script("fit.py", "--resume", "run")
    assert done.returncode == 2
    assert "last.ckpt is not a whole checkpoint of weights and settings alone: it is cut off or damaged" in done.stderr
    assert f"the newest that is whole is {run}/checkpoints/best.ckpt" in done.stderr


def test_checkpoints_are_written_beside_their_place(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("a file is moved from elsewhere, which copies it where that is another disk")

    monkeypatch.setattr(shutil, "move", refuse)
    assert script("fit.py", *_arguments("classifier", "--trainer.max_epochs", "1")).returncode == 0
    assert {path.name for path in (tmp_path / "classifier/version_0/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_weights_that_are_no_numbers_are_not_saved(script: Script, tmp_path: Path) -> None:
    (tmp_path / "poisoned.py").write_text(
        "import lightning.pytorch as pl, torch\n"
        "class NanGradient(pl.Callback):\n"
        "    def on_before_optimizer_step(self, trainer, model, optimizer):\n"
        "        if trainer.global_step == 8:\n"
        "            next(model.parameters()).grad.fill_(torch.nan)\n"
    )
    done = script("fit.py", *_arguments("classifier", "--trainer.callbacks", "[poisoned.NanGradient]"))
    assert done.returncode == 2
    assert "is NaN or infinite after step 9: training has diverged" in done.stderr.splitlines()[-1]
    last = torch.load(tmp_path / "classifier/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert all(value.isfinite().all() for value in last["state_dict"].values() if value.is_floating_point())


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Let this process be told of Ctrl-C, which a shell has those in the background ignore, the tests among them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_is_noted_as_such(script: Script, tmp_path: Path) -> None:
    done = script("fit.py", *_with_fault(tmp_path, "classifier", "SIGINT", 22))
    assert done.returncode == 130, done.stderr
    state = _state(tmp_path / "classifier" / "version_0")
    assert (state["state"], state["reason"]) == ("interrupted", "by Ctrl-C")
    assert "--resume classifier/version_0" in done.stdout


def test_a_run_that_is_to_end_while_its_results_are_drawn_ends_then(script: Script, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import lightning.pytorch as pl, os, signal\n"
        "class Drawing(pl.Callback):\n"
        "    def on_train_end(self, trainer, model):\n"
        "        if not os.path.exists('done'):\n"
        "            open('done', 'w').close()\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = script("fit.py", *_arguments("classifier", "--trainer.callbacks", "[slow.Drawing]"))
    assert done.returncode == 128 + signal.SIGTERM
    run = tmp_path / "classifier" / "version_0"
    assert _state(run)["state"] == "interrupted"
    assert not (run / "metrics.json").exists()
    assert script("fit.py", "--resume", "classifier/version_0", "--trust", "slow").returncode == 0
    assert _state(run)["state"] == "finished"


def test_a_data_module_of_ones_own_goes_on_from_the_last_epoch_that_was_over(script: Script, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import lightning.pytorch as pl, torch\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "class Data(pl.LightningDataModule):\n"
        "    num_classes, image_shape, class_names = 10, (1, 28, 28), list('0123456789')\n"
        "    def loader(self):\n"
        "        images = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))\n"
        "        return DataLoader(TensorDataset(images, torch.arange(200) % 10), batch_size=20)\n"
        "    train_dataloader = val_dataloader = test_dataloader = loader\n"
    )
    (tmp_path / "faulty.py").write_text(FAULTY)
    kill = [{"class_path": "faulty.Fault", "init_args": {"kind": "SIGTERM", "step": 14}}]
    few = [
        "--trainer.accelerator",
        "cpu",
        "--trainer.default_root_dir",
        ".",
        "--trainer.max_epochs",
        "3",
        "--model.encoder.width",
        "4",
    ]
    quick = ["--callbacks.pictures", "false", "--callbacks.board", "false", "--callbacks.save_every_n_steps", "3"]
    arguments = ["--config", str(PROJECT / "configs" / "classifier.yaml"), "--data", "own.Data", *few, *quick]
    assert script("fit.py", *arguments, "--name", "whole").returncode == 0
    stopped = script("fit.py", *arguments, "--name", "cut", "--trainer.callbacks", json.dumps(kill))
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert torch.load(tmp_path / "cut/version_0/checkpoints/last.ckpt", weights_only=True)["global_step"] == 10
    resumed = script("fit.py", "--resume", "cut/version_0", "--trust", "own", "--trust", "faulty")
    assert resumed.returncode == 0, resumed.stderr
    one, two = (
        torch.load(tmp_path / f"{name}/version_0/checkpoints/last.ckpt", weights_only=True) for name in ("whole", "cut")
    )
    assert all(torch.equal(one["state_dict"][key], two["state_dict"][key]) for key in one["state_dict"])


def test_what_cannot_be_gone_on_with_is_refused_in_one_line(
    uninterrupted: dict[str, Path], script: Script, tmp_path: Path
) -> None:
    def refused(*arguments: str) -> str:
        done = script("fit.py", "--resume", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr

    run = tmp_path / "run"
    assert "it has no config.yaml" in refused("run")
    shutil.copytree(uninterrupted["classifier"], run)
    assert "it has finished; to train it for longer, raise --trainer.max_epochs" in refused("run")
    assert "leave --config out" in refused("run", "--config", "a.yaml")
    (run / "state.json").unlink()
    last, best = (run / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    last.write_bytes(last.read_bytes()[:2000])
    assert f"cut off or damaged; the newest that is whole is {best}: add --ckpt_path {best}" in refused("run")
    best.write_bytes(b"")
    assert "there is no other that is whole" in refused("run")
    shutil.rmtree(run / "checkpoints")
    assert "it has no checkpoint to go on from; if its config is your own, start it again by fit.py --config" in refused("run")


def test_a_full_disk_ends_a_run_with_the_reason_and_leaves_the_earlier_checkpoint_whole(tmp_path: Path, script: Script) -> None:
    def leave_little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    wide = ["--model.encoder", "lab.nets.MLP", "--model.encoder.hidden_sizes", "[16]", "--trainer.max_epochs", "1"]
    wide += ["--model.scheduler", "null"]
    config = str(PROJECT / "configs" / "classifier.yaml")
    assert script("fit.py", "--config", config, *SMALL, *wide).returncode == 0
    run = tmp_path / "classifier" / "version_0"
    (run / "state.json").unlink()
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    assert len(before) > 60_000
    command = [sys.executable, str(PROJECT / "scripts" / "fit.py"), "--resume", "classifier/version_0"]
    done = subprocess.run(
        [*command, "--trainer.max_epochs", "3"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, preexec_fn=leave_little_room,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "File too large" in done.stderr.splitlines()[-1]
    assert _state(run)["state"] == "failed"
    assert "File too large" in _state(run)["reason"]
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "later"),
    [
        pytest.param(1, 7, marks=pytest.mark.slow),  # with all triplets, and the mean over those with a loss
        pytest.param(0, 7, marks=pytest.mark.slow),  # with all triplets for an epoch
        pytest.param(0, 30, marks=pytest.mark.slow),  # with the hard ones again
    ],
)
def test_a_remedy_of_a_collapse_goes_on_where_it_was(script: Script, tmp_path: Path, number: int, later: int) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    collapses = _arguments(
        "triplet",
        *("--trainer.max_epochs", "8", "--callbacks.collapse_remedy", "auto", "--model.scheduler", "null"),
        *("--model.optimizer.lr", "0.1", "--model.loss.margin", "0.25", "--callbacks.patience", "20"),
    )
    whole = script("fit.py", *collapses, "--name", "whole")
    assert whole.returncode == 0, whole.stderr
    steps = json.loads((tmp_path / "whole/version_0/metrics.json").read_text())["collapsed_at_steps"]
    kill = json.dumps([{"class_path": "faulty.Fault", "init_args": {"kind": "SIGTERM", "step": steps[number] + later}}])
    stopped = script("fit.py", *collapses, "--name", "cut", "--trainer.callbacks", kill)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert script("fit.py", "--resume", "cut/version_0", "--trust", "faulty").returncode == 0
    _assert_same(tmp_path / "cut" / "version_0", tmp_path / "whole" / "version_0")


@pytest.mark.parametrize("steps_of_run", [60, 80])
def test_a_run_does_not_go_on_under_a_schedule_that_ends_elsewhere(steps_of_run: int) -> None:
    configs = [SimpleNamespace(scheduler=SimpleNamespace(total_steps=70))]
    trainer: Any = SimpleNamespace(lr_scheduler_configs=configs, estimated_stepping_batches=steps_of_run)
    with pytest.raises(ValueError, match=f"ends after 70 steps and the run after {steps_of_run}"):
        check_schedule(trainer)
    trainer.estimated_stepping_batches = 70
    check_schedule(trainer)
