import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import PROJECT, Script
from PIL import Image

from lab.models import Triplet, load

UNDRAWN = ("--callbacks.pictures", "false", "--callbacks.board", "false")
TINY = ("--trainer.accelerator", "cpu", "--trainer.max_epochs", "2", "--trainer.default_root_dir", "runs", *UNDRAWN)
SMALL_DIGITS = ("--data.num_images_per_class", "40", "--model.encoder.width", "4")


def _json(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def test_a_fit_leaves_everything_in_a_new_folder_and_says_what_to_type_next(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "triplet.yaml")
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, "--seed_everything", "3")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "triplet" / "version_0"
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "metrics.csv",
        "metrics.json",
        "epochs.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    } <= files
    assert any(name.startswith("events.out.tfevents") for name in files)

    record = _json(run / "metrics.json")
    names = "loss auc eer pair_accuracy pair_f1 fmr fnmr fnmr@fmr0.1 fnmr@fmr0.01 recall@1 recall@5 recall@10 r_precision map@r"
    scores = {f"test/{name}" for name in (*names.split(), "nearest_neighbor_accuracy", "one_shot_accuracy")}
    assert {name for name in record if name.startswith("test/")} - {"test/fnmr@fmr0.001", "test/fnmr@fmr0.0001"} == scores
    assert all(f"{record[name]:.4f}" in done.stdout for name in scores)
    assert record["seed"] == 3
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["seconds"]["fit"] > 0
    assert record["epochs"] == 2
    with (run / "metrics.csv").open() as file:
        by_epoch = [float(row["val/map@r"]) for row in csv.DictReader(file) if row.get("val/map@r")]
    assert record["best_score"] == {"val/map@r": pytest.approx(max(by_epoch))}
    assert record["best_epoch"] == by_epoch.index(max(by_epoch)) + 1

    lines = (run / "epochs.log").read_text().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all(line in done.stdout for line in lines)
    with (run / "metrics.csv").open() as file:
        columns = set(csv.DictReader(file).fieldnames or ())
    assert scores | {"train/loss", "train/loss_step", "val/loss", "val/recall@1"} <= columns

    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["model"]["init_args"]["encoder"]["init_args"]["width"] == 4
    assert (resolved["seed_everything"], resolved["data"]["init_args"]["seed"]) == (3, None)  # another seed is one option
    best = "runs/triplet/version_0/checkpoints/best.ckpt"
    for part in (f"best checkpoint: {best}", "tensorboard --logdir runs", f"test.py --ckpt_path {best}"):
        assert part in done.stdout
    assert "Traceback" not in done.stderr

    # The checkpoint needs no config, and tests to the same scores; the resolved config repeats the run to the last digit.
    assert isinstance(load(run / "checkpoints" / "best.ckpt"), Triplet)
    tested = script("test.py", "--ckpt_path", best)
    assert tested.returncode == 0, tested.stderr
    tested_record = _json(tmp_path / "runs" / "triplet_test" / "version_0" / "metrics.json")
    again = script("fit.py", "--config", str(run / "config.yaml"))
    assert again.returncode == 0, again.stderr
    again_record = _json(tmp_path / "runs" / "triplet" / "version_1" / "metrics.json")
    for name in scores:
        assert tested_record[name] == record[name] == again_record[name]


def test_a_users_own_network_loss_data_set_and_callback_are_named_by_their_paths(script: Script, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from lightning.pytorch import Callback\n"
        "from lab.data import Synthetic\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, image_shape, units: int = 8):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], units)\n"
        "    def forward(self, images):\n"
        "        return self.layer(images.flatten(1))\n"
        "class ShapeNet(Net):\n"
        "    embedding_size = 8\n"
        "    def __init__(self, image_shape):\n"
        "        super().__init__(image_shape)\n"
        "class SmallNet(torch.nn.Module):\n"
        "    embedding_size = 6\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.LazyLinear(6)\n"
        "    def forward(self, images):\n"
        "        return self.layer(images.flatten(1))\n"
        "class Loss(torch.nn.Module):\n"
        "    def forward(self, logits, labels):\n"
        "        return torch.nn.functional.multi_margin_loss(logits, labels)\n"
        "class Data(Synthetic):\n"
        "    pass\n"
        "class Cheer(Callback):\n"
        "    def on_train_end(self, trainer, pl_module):\n"
        "        print('hurrah')\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "data: {class_path: mine.Data, init_args: {batch_size: 50, classes: 4}}\n"
        "model:\n"
        "  class_path: lab.models.Classifier\n"
        "  init_args: {encoder: mine.Net, loss: mine.Loss, embedding_size: 6, optimizer: torch.optim.SGD}\n"
        "trainer: {callbacks: [{class_path: mine.Cheer}]}\n"
    )
    done = script("fit.py", "--config", "mine.yaml", *TINY, "--model.encoder.units", "6", "--model.optimizer.lr", "0.1")
    assert done.returncode == 0, done.stderr
    assert "hurrah" in done.stdout
    run = tmp_path / "runs" / "mine" / "version_0"
    assert (run / "checkpoints" / "best.ckpt").is_file()  # the user's callback is added to the default ones
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    encoder = checkpoint["hyper_parameters"]["encoder"]
    assert encoder == {"class_path": "mine.Net", "init_args": {"units": 6, "image_shape": [1, 28, 28]}}
    assert checkpoint["state_dict"]["head.weight"].shape == (4, 6)
    tested = script("test.py", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"), "--trust", "mine")
    assert tested.returncode == 0, tested.stderr

    # A network that asks nothing about the images is told nothing; lazy layers find out by themselves.
    done = script("fit.py", "--config", "mine.yaml", *TINY, "--model.encoder", "mine.SmallNet")
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(tmp_path / "runs/mine/version_1/checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["encoder"] == {"class_path": "mine.SmallNet"}
    assert checkpoint["state_dict"]["encoder.layer.weight"].shape == (6, 784)
    tested = script("test.py", "--ckpt_path", "runs/mine/version_1/checkpoints/best.ckpt", "--trust", "mine")
    assert tested.returncode == 0, tested.stderr
    done = script(
        "fit.py", "--config", "mine.yaml", *TINY, "--model.encoder", "mine.ShapeNet", "--model.embedding_size", "null"
    )
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(tmp_path / "runs/mine/version_2/checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["encoder"]["init_args"] == {"image_shape": [1, 28, 28]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trainer.devices", "none"], "trainer: `devices` selected with"),
        (["--trainer.max_epochs", "-5"], "trainer: `max_epochs` must be"),
        (["--trainer.limit_train_batches", "0"], "trainer.limit_train_batches 0 leaves nothing to train on"),
        (["--trainer.limit_val_batches", "0"], "trainer.limit_val_batches 0 leaves no validation to choose the best epoch by"),
        (["--trainer.check_val_every_n_epoch", "5"], "trainer.check_val_every_n_epoch 5 leaves no validation"),
        (["--model.scheduler", "null", "--model.optimizer.lr", "-1"], "Invalid learning rate: -1.0"),
        (["--model.optimizer.lr", "0.1"], "model.optimizer.lr 0.1 has no effect under OneCycleLR"),
        (["--data.join", "[val]"], "data.join val leaves no validation to choose the best epoch by"),
        (["--callbacks.monitor", "val/accurac"], "did you mean 'val/accuracy'?"),
        (["--callbacks.patience", "-1"], "callbacks.patience must be 0 or more, not -1"),
        (["--model.embedding_size", "7"], "model.embedding_size 7 is not that of ConvNet, 64: leave it out"),
        (["--trainer.accumulate_grad_batches", "0"], "trainer.accumulate_grad_batches must be 1 or more, not 0"),
        (["--data.seed", "-1"], "data.seed must be 0 or more, not -1"),
        (["--model.encoder.embedding_size", "100000000000"], "model.encoder: ConvNet cannot be made: "),
        (["--model.loss", "torch.nn.TripletMarginLoss"], "TripletMarginLoss is a loss of something else"),
        (["--model.loss", "lab.losses.TripletLoss"], "Classifier has logits to give, and TripletLoss is a loss of embeddings"),
        (["--model.loss", "torch.nn.CrossEntropyLoss", "--model.loss.reduction", "none"], "must be one number"),
        (["--model.encoder.width", "0"], "model.encoder: ConvNet: width 0, depth 3, embedding_size 64 and later_width 0"),
        (["--trainer.max_epochs", "0"], "trainer.max_epochs 0 and trainer.max_steps 0 train nothing"),
        (["--data.augmentation.saturation", "0.3"], "data.augmentation.saturation has no effect on grey images"),
        (["--name", "../elsewhere"], "name must be that of a folder"),
        (["--seed_everything", "-1"], "seed_everything must be a whole number from 0 to 4294967295, not -1"),
        (["--seed_everything", "false"], "seed_everything must be a whole number from 0 to 4294967295, not False"),
        (["--model.optimizer.betas", "[2, 3]"], "model.optimizer: Invalid beta parameter at index 0: 2.0"),
        (["--trainer.gradient_clip_val", "-1"], "trainer.gradient_clip_val must be 0 or more, not -1"),
        (["--trainer.check_val_every_n_epoch", "0"], "trainer.check_val_every_n_epoch must be 1 or more, not 0"),
        (["--trainer.val_check_interval", "0"], "trainer.val_check_interval must be a share of an epoch or a number of steps"),
        (["--trainer.val_check_interval", "00:00:01:00"], "trainer.val_check_interval must be a share of an epoch or a number"),
        (["--trainer.max_epochs", "-1"], "model.scheduler needs to know when training ends: set trainer.max_epochs"),
    ],
)
def test_a_mistake_that_only_the_trainer_or_a_first_batch_shows_leaves_no_run_behind(
    script: Script, tmp_path: Path, arguments: list[str], says: str
) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, *arguments)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_validating_every_second_epoch_is_no_mistake(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    every = ["--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2"]
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, *every)
    assert done.returncode == 0, done.stderr
    assert _json(tmp_path / "runs/classifier/version_0/metrics.json")["best_epoch"] == 2


def test_a_run_that_cannot_go_on_from_its_checkpoint_leaves_no_folder(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    assert script("fit.py", "--config", config, *TINY, *SMALL_DIGITS).returncode == 0
    last = "runs/classifier/version_0/checkpoints/last.ckpt"
    longer = ["--ckpt_path", last, "--trainer.max_epochs", "5", "--name", "longer"]
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, *longer)
    assert done.returncode == 2
    assert "the learning rate schedule of the checkpoint ends after" in done.stderr
    assert not (tmp_path / "runs" / "longer").exists()


def test_an_encoder_starts_from_another_run_of_another_family_and_says_what_was_loaded(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "triplet.yaml")
    assert script("fit.py", "--config", config, *TINY, *SMALL_DIGITS).returncode == 0
    best = "runs/triplet/version_0/checkpoints/best.ckpt"
    config = str(PROJECT / "configs" / "classifier.yaml")
    frozen = ["--encoder_from", best, "--model.scheduler", "null", "--model.optimizer.lr", "0", "--trainer.max_epochs", "1"]
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, *frozen)
    assert done.returncode == 0, done.stderr
    assert f"encoder: 20 of 20 tensors loaded from {best}" in done.stdout
    paths = [tmp_path / "runs" / name / "version_0" / "checkpoints" / "last.ckpt" for name in ("triplet", "classifier")]
    before = torch.load(tmp_path / best, weights_only=True)["state_dict"]["encoder.layers.0.weight"]
    after = torch.load(paths[1], weights_only=True)["state_dict"]["encoder.layers.0.weight"]
    assert torch.equal(before, after)
    tested = script(
        "test.py", "--ckpt_path", "runs/classifier/version_0/checkpoints/best.ckpt"
    )  # whose config says encoder_from
    assert tested.returncode == 0, tested.stderr
    again = ("--config", config, *TINY, *SMALL_DIGITS, "--encoder_from", best)
    wider = script("fit.py", *again, "--model.encoder.embedding_size", "9")
    assert wider.returncode == 0, wider.stderr
    assert "not loaded: layers.13.weight (other shape), layers.13.bias (other shape)" in wider.stdout
    other = script("fit.py", "--config", config, *TINY, "--encoder_from", best, "--model.encoder", "lab.nets.TwoLayerNet")
    assert other.returncode == 2
    assert "none of its 20 tensors fits the encoder, a TwoLayerNet" in other.stderr


def test_an_optimizer_that_cannot_take_a_first_step_leaves_no_run_behind(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, "--model.optimizer", "torch.optim.SparseAdam")
    assert done.returncode == 2
    assert "error: the first training step failed: RuntimeError: SparseAdam does not support dense gradients" in done.stderr
    assert not (tmp_path / "runs" / "classifier").exists()


def test_training_without_validation_is_watched_by_a_score_of_training(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    without = [*TINY, *SMALL_DIGITS, "--trainer.limit_val_batches", "0", "--callbacks.monitor"]
    done = script("fit.py", "--config", config, *without, "train/loss")
    assert done.returncode == 0, done.stderr
    assert list(_json(tmp_path / "runs/classifier/version_0/metrics.json")["best_score"]) == ["train/loss"]
    joined = [*TINY, *SMALL_DIGITS, "--data.join", "[val]", "--callbacks.monitor", "train/loss", "--name", "joined"]
    done = script("fit.py", "--config", config, *joined)
    assert done.returncode == 0, done.stderr
    done = script("fit.py", "--config", config, *without, "train/los")
    assert done.returncode == 2
    assert "did you mean 'train/loss'?" in done.stderr


def test_resuming_goes_on_where_the_run_was_stopped(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    half = [*TINY, *SMALL_DIGITS, "--model.scheduler", "null"]
    assert script("fit.py", "--config", config, *half, "--name", "half", "--trainer.max_epochs", "1").returncode == 0
    resumed = script(
        "fit.py", "--config", config, *half, "--name", "rest", "--ckpt_path", "runs/half/version_0/checkpoints/last.ckpt"
    )
    assert resumed.returncode == 0, resumed.stderr
    assert script("fit.py", "--config", config, *half, "--name", "whole").returncode == 0
    ends = [
        torch.load(tmp_path / "runs" / name / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("rest", "whole")
    ]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_checkpoint_without_its_run_is_tested_by_a_config_that_is_named(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    assert script("fit.py", "--config", config, *TINY, *SMALL_DIGITS).returncode == 0
    shutil.copy(tmp_path / "runs/classifier/version_0/checkpoints/best.ckpt", tmp_path / "copied.ckpt")
    alone = script("test.py", "--ckpt_path", "copied.ckpt")
    assert alone.returncode == 2
    assert "copied.ckpt lies in no run's folder, whose config would say what to test on: add --config FILE" in alone.stderr
    tested = script("test.py", "--ckpt_path", "copied.ckpt", "--config", config, *TINY, *SMALL_DIGITS)
    assert tested.returncode == 0, tested.stderr
    assert _json(tmp_path / "runs/classifier_test/version_0/state.json")["state"] == "finished"
    again = script("fit.py", "--resume", "runs/classifier_test/version_0")
    assert again.stderr.strip().endswith("that is a test, not a run; test.py --ckpt_path " + str(tmp_path / "copied.ckpt"))
    within = script("fit.py", "--resume", "runs/classifier/version_0/checkpoints/last.ckpt")
    assert "that is no run, it has no config.yaml; name the folder of the run, " in within.stderr
    assert within.stderr.strip().endswith("classifier/version_0")


def test_default_callbacks_are_switched_off_by_name(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    off = [f"--callbacks.{name}=false" for name in ("checkpoints", "early_stopping", "epoch_log", "model_summary")]
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, *off)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "classifier" / "version_0"
    assert not (run / "checkpoints").exists()
    assert not (run / "epochs.log").exists()
    assert "epoch 1" not in done.stdout
    assert "Params" not in done.stdout
    assert _json(run / "metrics.json")["checkpoint"] is None


def test_a_monitored_score_that_is_not_logged_stops_the_run_before_its_first_epoch(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "triplet.yaml")
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, "--callbacks.monitor", "val/recal@1")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: callbacks.monitor 'val/recal@1' is not logged by Triplet")
    assert "did you mean 'val/recall@1'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs" / "triplet" / "version_0" / "epochs.log").exists()


@pytest.mark.slow
def test_a_mistake_ends_the_process_with_one_line_and_code_2_and_debug_brings_the_traceback_back(
    script: Script, script_process: Script
) -> None:
    arguments = ("--config", str(PROJECT / "configs" / "triplet.yaml"), "--data.classes", "12")
    short = script_process("fit.py", *arguments)
    assert short.returncode == 2
    assert short.stderr.strip() == "error: data.classes asks for 12 classes; MNIST has 10, and 2 are needed"
    with pytest.raises(ValueError, match="asks for 12 classes"):
        script("fit.py", *arguments, "--debug")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(script: Script, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.ckpt").write_bytes(content)
    done = script("test.py", "--config", str(PROJECT / "configs" / "triplet.yaml"), "--ckpt_path", "some.ckpt")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: some.ckpt is not a whole checkpoint")
    assert "Traceback" not in done.stderr


def test_print_config_shows_every_value_and_help_every_option(script: Script) -> None:
    config = str(PROJECT / "configs" / "triplet.yaml")
    printed = script("fit.py", "--config", config, "--model.encoder.width", "64", "--print_config")
    assert yaml.safe_load(printed.stdout)["model"]["init_args"]["encoder"]["init_args"]["width"] == 64
    helped = script("fit.py", "--help")
    assert helped.returncode == 0
    assert all(
        option in helped.stdout for option in ("--config", "--trainer.max_epochs", "--callbacks.patience", "--ckpt_path")
    )


def test_later_configs_and_arguments_replace_what_earlier_ones_say(script: Script, tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("model: {init_args: {encoder: {init_args: {width: 48, depth: 2}}}}\n")
    configs = ("--config", str(PROJECT / "configs" / "triplet.yaml"), "--config", "wide.yaml")
    printed = yaml.safe_load(script("fit.py", *configs, "--model.encoder.depth", "1", "--print_config").stdout)
    encoder = printed["model"]["init_args"]["encoder"]["init_args"]
    assert (encoder["width"], encoder["depth"]) == (48, 1)
    assert printed["data"]["init_args"]["samples_per_class"] == 8  # from the first config
    assert printed["trainer"]["devices"] == 1  # from the default one


@pytest.mark.slow
def test_runs_are_kept_in_the_project_wherever_they_are_started(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.cli.PROJECT", tmp_path / "project")
    config = str(PROJECT / "configs" / "classifier.yaml")
    done = script("fit.py", "--config", config, *SMALL_DIGITS, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "project" / "lightning_logs" / "classifier" / "version_0" / "metrics.json").is_file()


def test_test_asks_for_a_checkpoint(script: Script) -> None:
    done = script("test.py")
    assert done.returncode == 2
    assert "--ckpt_path" in done.stderr


@pytest.mark.parametrize(
    ("key", "option"),
    [("model.evaluation", "operating_point"), ("data.episodes", "num_ways"), ("data.augmentation", "cutout")],
)
def test_options_that_come_together_are_explained(key: str, option: str, script: Script) -> None:
    done = script("fit.py", "--config", str(PROJECT / "configs" / "triplet.yaml"), f"--{key}.help")
    assert done.returncode == 0, done.stderr
    assert f"--{key}.{option}" in done.stdout


def test_a_run_on_a_folder_lists_the_pictures_that_it_was_tested_on(script: Script, tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for shade in range(12):
            picture = Image.new("RGB", (8, 8), (20 * shade, 200 * number, 0))
            picture.save(tmp_path / "pictures" / name / f"{shade}.png")
    small = ["--data.image_size", "8", "--data.batch_size", "8", "--trainer.max_epochs", "1", "--callbacks.pictures", "false"]
    data = ["--data", "lab.data.ImageFolder", "--data.folder", "pictures", "--data.root", "."]
    config = str(PROJECT / "configs" / "classifier.yaml")
    network = ["--model.encoder", "lab.nets.MLP", "--trainer.default_root_dir", "."]
    done = script("fit.py", "--config", config, *data, *small, *network)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "classifier" / "version_0" / "test_pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5  # a fifth of 24
    assert all(Path(row["file"]).parent.name == row["class"] and Path(row["file"]).is_file() for row in rows)


def test_a_profiler_that_is_asked_for_measures_the_steps(script: Script, tmp_path: Path) -> None:
    done = script(
        "fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *SMALL_DIGITS, *TINY,
        "--trainer.limit_train_batches", "2",
        "--trainer.profiler", "lightning.pytorch.profilers.SimpleProfiler", "--trainer.profiler.dirpath", str(tmp_path),
        "--trainer.profiler.filename", "profile",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"run_training_batch\s+\|[^|]+\|\s*4\s*\|", (tmp_path / "fit-profile.txt").read_text())


def test_the_config_of_a_run_names_its_files_wherever_it_is_read_from(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    assert script("fit.py", "--config", config, *TINY, *SMALL_DIGITS).returncode == 0
    weights = "runs/classifier/version_0/checkpoints/best.ckpt"
    done = script("fit.py", "--config", config, *TINY, *SMALL_DIGITS, "--weights_from", weights, "--data.root", "~/elsewhere")
    assert done.returncode == 0, done.stderr
    kept = yaml.safe_load((tmp_path / "runs" / "classifier" / "version_1" / "config.yaml").read_text())
    assert kept["weights_from"] == str(tmp_path / weights)
    assert kept["encoder_from"] is None
    assert kept["data"]["init_args"]["root"] == "~/elsewhere"  # which is somewhere in every home
