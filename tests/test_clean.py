import contextlib
import csv
import io
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import PROJECT, Script
from jsonargparse._common import parsing_settings
from PIL import Image

from lab.clean.command import places
from lab.clean.findings import findings
from lab.clean.judge import Judge
from lab.clean.turns import Judged
from lab.data import ImageFolder, Synthetic
from lab.data.module import ImageDataModule

PATTERNS: dict[str, Any] = {
    **{"num_classes_made": 5, "num_train_images": 600, "stored_shape": [1, 16, 16]},
    **{"label_noise": 0.3, "num_images_per_class": 100},
}
NOISY = (
    *("--data", "lab.data.Synthetic", *(part for key, value in PATTERNS.items() for part in (f"--data.{key}", str(value)))),
    *("--data.augmentation", "null", "--data.batch_size", "20", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "3"),
    *("--model.encoder", "lab.nets.MLP", "--model.encoder.hidden_sizes", "[32]", "--trainer.default_root_dir", "."),
    *("--callbacks.board", "false", "--callbacks.pictures", "false"),
)
MEMORY = '''
from pathlib import Path
import torch

class Memory(torch.nn.Module):
    """Says class 0 of images that it was trained on, and nothing of others; the first pixel of each is its number."""
    embedding_size = 3
    def __init__(self):
        super().__init__()
        self.seen = set()
        self.bias = torch.nn.Parameter(torch.zeros(3))
    def forward(self, images):
        numbers = (images[:, 0, 0, 0] * 255).round().long().tolist()
        if self.training and torch.is_grad_enabled():
            self.seen |= set(numbers)
            return self.bias.expand(len(images), 3) * 0
        with Path("asked.txt").open("a") as file:
            file.write(f"{len(self.seen)} {len(self.seen & set(numbers))}\\n")
        known = torch.tensor([number in self.seen for number in numbers])
        return known[:, None] * torch.tensor([50.0, 0.0, 0.0])
'''


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _data() -> Synthetic:
    data = Synthetic(**PATTERNS, seed=0)
    data.setup()
    return data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on images of which some are labelled wrongly, which has been cleaned by two folds."""
    from lab.clean import clean
    from lab.commands import fit

    folder = tmp_path_factory.mktemp("noisy")
    with pytest.MonkeyPatch.context() as context:
        context.chdir(folder)
        context.setattr(sys, "path", list(sys.path))
        for setting in ("import_path_verdicts", "import_paths_enforced"):  # which end with a process
            context.setitem(parsing_settings, setting, parsing_settings[setting])
        context.setattr(sys, "argv", ["fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *NOISY])
        fit()
        context.setattr(sys, "argv", ["clean.py", "classifier/version_0", "--num_folds", "2"])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            clean()
    (folder / "printed.txt").write_text(printed.getvalue())
    return folder / "classifier" / "version_0"


def _configured(script: Script, folder: Path, config: str, *arguments: str) -> Path:
    """Make the folder of a run that has only been begun: its config."""
    printed = script("fit.py", "--config", str(PROJECT / "configs" / config), *arguments, "--print_config")
    assert printed.returncode == 0, printed.stderr
    folder.mkdir()
    settings = yaml.safe_load(printed.stdout)
    for key in ("config", "debug", "resume", "trust"):
        settings.pop(key, None)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_the_list_has_far_more_wrong_labels_than_a_random_one(run: Path) -> None:
    record = json.loads((run / "clean" / "clean.json").read_text())
    listed, ranked = _rows(run / "clean" / "suspicious.csv"), _rows(run / "clean" / "ranking.csv")
    wrong = sum(row["label"] != row["true"] for row in ranked)
    found = sum(row["label"] != row["true"] for row in listed)
    assert record["true_labels"]["wrong_share"] == pytest.approx(wrong / 500)
    assert record["true_labels"]["precision"] == pytest.approx(found / len(listed))
    assert record["true_labels"]["recall"] == pytest.approx(found / wrong)
    assert found / len(listed) > 2 * wrong / 500
    assert found / wrong > 0.4
    assert record["true_labels"]["auc"] > 0.85
    assert (record["num_images"], record["num_suspicious"], record["num_folds"]) == (500, len(listed), 2)
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_images_are_ranked_by_loss_and_named_by_their_position_and_the_label_given_to_them(run: Path) -> None:
    data, ranked = _data(), _rows(run / "clean" / "ranking.csv")
    assert sorted(int(row["position"]) for row in ranked) == list(range(500))
    losses = [float(row["loss"]) for row in ranked]
    assert losses == sorted(losses, reverse=True)
    for row in ranked:
        place = int(row["position"])
        assert row["label"] == data.class_names[int(data.splits["train"].labels[place])]
        assert row["true"] == data.class_names[int(data.true_labels[place])]
    listed = [row["position"] for row in _rows(run / "clean" / "suspicious.csv")]
    assert listed == [row["position"] for row in ranked if row["position"] in set(listed)]
    assert Image.open(run / "clean" / "suspicious.png").size[0] > 1000


def test_the_command_that_is_printed_trains_without_the_images_of_the_list(run: Path, script: Script, tmp_path: Path) -> None:
    _, _, command = (run.parent.parent / "printed.txt").read_text().partition("to train without them:\n")
    _, fit, *arguments = shlex.split(command)
    assert Path(fit) == PROJECT / "scripts" / "fit.py"
    shutil.copytree(run, tmp_path / "classifier" / "version_0")
    trained = script("fit.py", *arguments)
    assert trained.returncode == 0, trained.stderr
    config = yaml.safe_load((tmp_path / "classifier" / "version_1" / "config.yaml").read_text())
    assert config["data"]["init_args"]["exclude"] == str(tmp_path / "classifier" / "version_0" / "clean" / "suspicious.csv")
    refused = script("fit.py", *arguments, "--seed_everything", "1")
    assert refused.returncode == 2
    assert "is not of these training images" in refused.stderr


@pytest.mark.slow
def test_one_that_is_interrupted_goes_on_and_gives_the_same_tables_byte_for_byte(
    run: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, original = [], Judge.probabilities

    def interrupted(judge: Judge) -> torch.Tensor:
        judged.append(judge.turn.held_out)
        if judged == [0, 1]:
            raise KeyboardInterrupt
        return original(judge)

    monkeypatch.setattr(Judge, "probabilities", interrupted)
    command = ("clean.py", str(run), "--num_folds", "2", "-o", "out")
    stopped = script(*command)
    assert stopped.returncode == 130
    assert "the same command goes on" in stopped.stdout
    assert script(*command).returncode == 0
    assert judged == [0, 1, 1]  # the first fold is kept
    for name in ("suspicious.csv", "ranking.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (run / "clean" / name).read_bytes()
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
def test_other_settings_and_a_file_that_is_cut_off_are_judged_anew(
    run: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []

    def uniform(judge: Judge) -> torch.Tensor:
        judged.append(judge.turn.held_out)
        return torch.full((len(judge.cli.datamodule.splits["val"]), 5), 0.2, dtype=torch.float64)

    monkeypatch.setattr(Judge, "probabilities", uniform)
    shutil.copytree(run / "clean", tmp_path / "out")
    (tmp_path / "out" / "fold_2_of_2.safetensors").write_bytes(b"cut off")
    assert script("clean.py", str(run), "--num_folds", "2", "-o", "out").returncode == 0
    assert judged == [1]
    assert script("clean.py", str(run), "--num_folds", "2", "-o", "out", "--model.optimizer.lr=0.004").returncode == 0
    assert judged == [1, 0, 1]


@pytest.mark.slow
def test_true_labels_have_no_part_in_what_is_found(
    run: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ImageDataModule.setup

    def shuffled(data: ImageDataModule, stage: str | None = None) -> None:
        if not data.splits:
            original(data, stage)
            data.true_labels = (data.true_labels + 3) % 5

    monkeypatch.setattr(ImageDataModule, "setup", shuffled)
    assert script("clean.py", str(run), "--num_folds", "2", "-o", "out").returncode == 0
    for name in ("suspicious.csv", "ranking.csv"):
        found, before = _rows(tmp_path / "out" / name), _rows(run / "clean" / name)
        assert [row["true"] for row in found] != [row["true"] for row in before]
        assert [row | {"true": ""} for row in found] == [row | {"true": ""} for row in before]


@pytest.mark.slow
def test_so_many_or_a_share_of_the_highest_losses_are_listed_where_that_is_asked_for(
    run: Path, script: Script, tmp_path: Path
) -> None:
    shutil.copytree(run / "clean", tmp_path / "out")
    ranked = [row["position"] for row in _rows(run / "clean" / "ranking.csv")]
    for option, value, num in (("--num", "7", 7), ("--share", "0.1", 50)):
        done = script("clean.py", str(run), "--num_folds", "2", "-o", "out", option, value)
        assert done.stdout.count("kept from before") == 2  # nothing is trained again
        assert [row["position"] for row in _rows(tmp_path / "out" / "suspicious.csv")] == ranked[:num]
    refused = script("clean.py", str(run), "--num", "500")
    assert refused.stderr == "error: --num 500 would list all of the 500 training images\n"


def test_an_image_is_judged_by_a_model_that_has_not_seen_it_but_all_others(script: Script, tmp_path: Path) -> None:
    (tmp_path / "memory.py").write_text(MEMORY + NUMBERED)
    data = ("--data", "memory.Numbered", "--data.batch_size", "5", "--data.normalization", "unit")
    model = ("--model.encoder", "memory.Memory", "--model.head", "none", "--model.scheduler", "null")
    own = _configured(script, tmp_path / "run", "classifier.yaml", *data, *model, "--trainer.max_epochs", "1")
    refused = script("clean.py", "run")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "--trust memory" in refused.stderr
    assert not (own / "clean").exists()
    done = script("clean.py", "run", "--num_folds", "4", "--trust", "memory")
    assert done.returncode == 0, done.stderr
    assert {row["probability"] for row in _rows(own / "clean" / "ranking.csv")} == {"0.333333"}
    asked = (tmp_path / "asked.txt").read_text().split("\n")
    assert [line for line in asked if line and not line.startswith("0 ")] == ["45 0"] * 4  # 45 others seen, none of these
    assert "the true labels are not" in done.stdout
    assert "warning: the judge agrees with fewer than half of the labels" in done.stdout
    assert "true" not in _rows(own / "clean" / "ranking.csv")[0]
    assert json.loads((own / "clean" / "clean.json").read_text())["true_labels"] == "not known"


NUMBERED = """
from lab.data import ImageDataModule
from lab.data.arrays import ImageArrays

class Numbered(ImageDataModule):
    all_class_names = ["a", "b", "c"]
    stored_shape = (1, 4, 4)
    def __init__(self, **options):
        super().__init__(**options)
    def read(self):
        def made(num, first):
            images = torch.arange(first, first + num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
            return ImageArrays(images, torch.arange(num) % 3, self.all_class_names)
        return {"train": made(60, 0), "val": made(12, 100), "test": made(12, 150)}
"""


@pytest.mark.slow
def test_another_configs_model_judges_the_data_of_a_run_whose_own_gives_no_probabilities(
    script: Script, tmp_path: Path
) -> None:
    small = (
        "--data.num_images_per_class",
        "20",
        "--data.label_noise",
        "0.2",
        "--data.batch_size",
        "16",
        "--data.samples_per_class",
        "4",
    )
    _configured(script, tmp_path / "run", "triplet.yaml", *small, "--trainer.max_epochs", "1", "--model.encoder.width", "4")
    refused = script("clean.py", "run")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: Triplet gives no probabilities of classes: name a config with a lab.models.Class")
    judge = str(PROJECT / "configs" / "split_image.yaml")
    done = script("clean.py", "run", "--judge", judge, "--num_folds", "2", "--num", "3", "--model.encoder.width", "4")
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "run" / "clean" / "judge.yaml").read_text())
    assert written["model"]["class_path"] == "lab.models.SplitImage"
    assert written["data"]["init_args"]["samples_per_class"] == 4  # of the run
    arguments = shlex.split(done.stdout.partition("to train without them:\n")[2])[2:]
    assert script("fit.py", *arguments, "--trainer.fast_dev_run", "true").returncode == 0


def _excluding(config: dict[str, Any]) -> None:
    config["data"]["init_args"]["exclude"] = "list.csv"


def _folded(config: dict[str, Any]) -> None:
    config["data"]["init_args"]["folds"] = {"num": 5, "held_out": 0}


def _with_a_callback(config: dict[str, Any]) -> None:
    config["trainer"]["callbacks"] = [{"class_path": "stranger.Payload"}]


def _with_a_strategy(config: dict[str, Any]) -> None:
    config["trainer"]["strategy"] = {"class_path": "stranger.Payload"}


def _begun_elsewhere(config: dict[str, Any]) -> None:
    config["encoder_from"] = "other/checkpoints/best.ckpt"


def _trained_before(config: dict[str, Any]) -> None:
    config["weights_from"] = "other/checkpoints/best.ckpt"


def _without_end(config: dict[str, Any]) -> None:
    config["trainer"]["max_epochs"] = -1
    config["model"]["init_args"]["scheduler"] = None


def _waiting(config: dict[str, Any]) -> None:
    scheduler = {"class_path": "torch.optim.lr_scheduler.ReduceLROnPlateau", "init_args": {}}
    config["model"]["init_args"]["scheduler"] = scheduler


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_excluding, "data.exclude is set in this run: find wrong labels by a run on all of its training images"),
        (_folded, "data.folds is set in this run"),
        (_with_a_callback, "--trust stranger"),  # though a judge has none: the run that is trained next would
        (_with_a_strategy, "--trust stranger"),
        (_begun_elsewhere, "encoder_from other/checkpoints/best.ckpt may have seen the images to be judged"),
        (_trained_before, "weights_from other/checkpoints/best.ckpt may have seen the images to be judged"),
        (_without_end, "trainer.max_epochs -1 would never end"),
        (_waiting, "ReduceLROnPlateau has no validation scores to wait for"),
    ],
)
def test_a_run_that_cannot_be_judged_fairly_or_is_not_trusted_is_refused_in_one_line(
    edit: Any, said: str, run: Path, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "stranger.py").write_text("open('executed', 'w')")
    config = yaml.safe_load((run / "config.yaml").read_text())
    edit(config)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text(yaml.safe_dump(config))
    refused = script("clean.py", "other")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert said in refused.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere is no run: it has no config.yaml"),
        (["tested"], "tested is a test, not a run"),
        (["RUN/checkpoints"], "checkpoints is no run: it has no config.yaml; name the folder of the run, "),
        (["RUN", "--num_fold", "3"], "unrecognized arguments: --num_fold (did you mean --num_folds?)"),
        (["RUN", "--num_folds", "1"], "must be 2 or more, not '1'"),
        (["RUN", "--num_folds", "501"], "data.folds.num 501 is more than the 500 training images"),
        (["RUN", "--share", "1.5"], "must be a share between 0 and 1, not '1.5'"),
        (["RUN", "--num", "3", "--share", "0.1"], "not allowed with argument"),
        (["RUN", "--data.label_noise", "0.1"], "--data.label_noise would change which images these are, or their labels"),
        (["RUN", "--data.init_args.join=[val]"], "--data.init_args.join would change which images these are"),
        (["RUN", "--seed_everything", "1"], "unrecognized arguments: --seed_everything"),
        (["RUN", "--model", "lab.models.Triplet"], "--model: name a single key, such as --model.KEY, or another model by"),
        (["RUN", "--trainer.devices", "2"], "--trainer.devices cannot be set here"),
        (["RUN", "--callbacks.early_stopping=true"], "--callbacks.early_stopping cannot be set here"),
        (["RUN", "--trainer.max_epoch", "2"], "did you mean '--trainer.max_epochs'?"),
        (["RUN", "--judge", "none.yaml"], "there is no file none.yaml"),
        (["RUN", "--judge", "empty.yaml"], "--judge empty.yaml: it names no model"),
        (["RUN", "--trust", "os"], "--trust os: that is no module of classes to train with"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_in_one_line(
    arguments: list[str], said: str, run: Path, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "tested").mkdir()
    (tmp_path / "tested" / "config.yaml").write_text("data: lab.data.MNIST")
    (tmp_path / "tested" / "metrics.json").write_text('{"test/accuracy": 1.0}')
    (tmp_path / "empty.yaml").write_text("seed_everything: 0")
    refused = script("clean.py", *(argument.replace("RUN", str(run)) for argument in arguments), "-o", "out")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert said in refused.stderr


def test_where_the_data_are_is_said_again_to_the_training_that_comes_next() -> None:
    options = ["--trainer.max_epochs", "3", "--data.root", "a b", "--data.init_args.folder=pictures", "--data.batch_size=3"]
    assert places(options) == ["--data.root", "a b", "--data.init_args.folder=pictures"]


def _picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)


def test_training_pictures_are_named_in_the_order_of_the_training_images(tmp_path: Path) -> None:
    for number in range(30):
        split = "extra" if number % 3 == 0 else "train"
        _picture(tmp_path / split / "abc"[number % 4 % 3] / f"{number}.png", 8 * number)
    chosen: dict[str, Any] = {"join": ["extra"], "classes": ["c", "a"], "num_images_per_class": 5}
    data = ImageFolder(tmp_path, 8, channels=1, root=tmp_path / "root", **chosen)
    data.setup()
    images, _ = data.splits["train"][:]
    files = data.training_pictures()
    assert [8 * int(path.stem) for path in files] == images[:, 0, 0, 0].tolist()
    assert {path.parent.parent.name for path in files} == {"train", "extra"}
    probabilities = torch.full((len(files), 2), 0.5, dtype=torch.float64)
    found = findings(data, Judged(probabilities, torch.zeros(len(files), dtype=torch.int64), 0.0), 3)
    rows = [dict(zip(found.columns(), row, strict=True)) for row in found.rows(found.order(False))]
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert [row["position"] for row in rows] == list(range(len(files)))  # a tie keeps their order


def test_a_label_of_no_suspicion_makes_an_empty_list_and_a_figure_that_says_so() -> None:
    data = Synthetic(num_train_images=40)
    data.setup()
    labels = data.splits["train"].labels
    found = findings(data, Judged(torch.eye(10, dtype=torch.float64)[labels], labels % 5, 0.0), None)
    assert list(found.rows(found.order(True))) == []
    assert found.accuracy == 1
    assert "no images" in [text.get_text() for text in found.figure().axes[0].texts]


@pytest.mark.slow
def test_on_all_bundled_digits_most_wrong_labels_are_found(script: Script, tmp_path: Path) -> None:
    own = _configured(script, tmp_path / "run", "classifier.yaml", "--data.label_noise", "0.3", "--trainer.max_epochs", "4")
    done = script("clean.py", "run", "--num_folds", "3")
    assert done.returncode == 0, done.stderr
    scores = json.loads((own / "clean" / "clean.json").read_text())["true_labels"]
    assert scores["precision"] > 0.9 and scores["recall"] > 0.75
