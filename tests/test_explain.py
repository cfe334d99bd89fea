import sys
from pathlib import Path

import pytest

from lab.cli import LabCLI

CONFIG = """\
data:
  class_path: lab.data.Synthetic
  init_args:
    batch_size: 32
    samples_per_class: 4
model:
  class_path: lab.models.Triplet
  init_args:
    encoder:
      class_path: lab.nets.ConvNet
      init_args: {width: 4}
    loss: lab.losses.TripletLoss
    scheduler:
      class_path: torch.optim.lr_scheduler.OneCycleLR
      init_args:
        max_lr: 0.01
trainer: {max_epochs: 1, accelerator: cpu}
"""


def _refusal(monkeypatch: pytest.MonkeyPatch, folder: Path, config: str, *arguments: str) -> str:
    """Return the line that the command line says about a config, written to ``my.yaml``."""
    monkeypatch.chdir(folder)
    Path("my.yaml").write_text(config)
    runs = [] if "--trainer.default_root_dir" in arguments else ["--trainer.default_root_dir", "lightning_logs"]
    monkeypatch.setattr(sys, "argv", ["fit.py", *runs, "--config", "my.yaml", *arguments])
    with pytest.raises(ValueError, match=r".") as refused:
        LabCLI()
    message = " ".join(str(refused.value).split())
    assert not (folder / "lightning_logs").exists()
    return message


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("max_lr", "max_learning", ["model.scheduler.max_learning", "'max_lr'", "my.yaml:16"]),
        ("batch_size", "batchsize", ["data.batchsize", "'batch_size'", "my.yaml:4"]),
        ("width", "widht", ["model.encoder.widht", "'width'", "my.yaml:11"]),
        ("max_epochs", "max_epoch", ["trainer.max_epoch", "'max_epochs'", "my.yaml:17"]),
        ("\nmodel:", "\nmodle:", ["modle", "'model'", "my.yaml:6"]),
        ("init_args:\n    batch", "init_arg:\n    batch", ["data", "init_arg"]),
    ],
)
def test_a_misspelt_key_is_answered_with_the_nearest_one_and_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: str, wrong: str, says: list[str]
) -> None:
    message = _refusal(monkeypatch, tmp_path, CONFIG.replace(right, wrong))
    for part in says:
        assert part in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("lab.nets.ConvNet", "lab.nets.ConvNt", ["model.encoder", "lab.nets.ConvNt", "'ConvNet'", "my.yaml:10"]),
        ("lab.models.Triplet", "lab.models.triplett", ["model", "lab.models.triplett", "'Triplet'", "my.yaml:7"]),
        ("lab.data.Synthetic", "labb.data.Synthetic", ["data", "there is no module labb", "my.yaml:2"]),
        ("lab.losses.TripletLoss", "lab.losses.Tripletloss", ["model.loss", "'TripletLoss'", "my.yaml:12"]),
    ],
)
def test_an_unknown_class_is_named_with_the_nearest_one_and_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: str, wrong: str, says: list[str]
) -> None:
    message = _refusal(monkeypatch, tmp_path, CONFIG.replace(right, wrong))
    for part in says:
        assert part in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("batch_size: 32", "batch_size: many", "data.batch_size must be int, not 'many' (my.yaml:4)"),
        ("max_epochs: 1", "max_epochs: soon", "trainer.max_epochs must be int or null, not 'soon' (my.yaml:17)"),
        (
            "ConvNet\n      init_args: {width: 4}",
            "MLP\n      init_args: {hidden_sizes: 64}",
            "model.encoder.hidden_sizes must be a list as '[a, b]', not '64' (my.yaml:11)",
        ),
        ("width: 4", "width: [4]", "model.encoder.width must be int, not '[4]' (my.yaml:11)"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_the_right_type_and_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: str, wrong: str, says: str
) -> None:
    assert _refusal(monkeypatch, tmp_path, CONFIG.replace(right, wrong)) == says


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trainer.max_epoch", "3"], ["--trainer.max_epoch", "'--trainer.max_epochs'"]),
        (["--model.encoder.widht", "3"], ["model.encoder.widht", "'width'", "on the command line"]),
        (["--model.loss.margin", "none"], ["model.loss.margin", "float or 'soft'", "on the command line"]),
        (["--config", "mine.yaml"], ["there is no file mine.yaml", "'my.yaml'"]),
        (["--data", "mine.yaml"], ["data: there is no file mine.yaml"]),
        (["--ckpt_path", "none.ckpt"], ["there is no checkpoint none.ckpt"]),
        (["stray"], ["unrecognized argument stray"]),
        (["my.yaml"], ["unrecognized argument my.yaml; a config is given by --config my.yaml"]),
        (["--batch_size", "3"], ["unrecognized argument --batch_size", "'--data.batch_size'"]),
        (["--lr", "0.1"], ["unrecognized argument --lr"]),
        (["--width", "3"], ["unrecognized argument --width", "'--model.encoder.width'"]),
        (["--epochs", "3"], ["unrecognized argument --epochs", "'--trainer.max_epochs'"]),
        (["--config"], ["--config needs a value"]),
        (["--model.encoder.width"], ["--model.encoder.width needs a value"]),
        (["--model.encoder.help"], ["--model.encoder.help needs a value, the class to explain"]),
        (["--model.help", "lab.models.Tripel"], ["lab.models.Tripel cannot be imported", "'Triplet'"]),
        (["--model.encoder", "MLP"], ["model.encoder: several classes are called MLP", "lab.nets.MLP"]),
        (["--model", "lab.data.MNIST"], ["model must be a Family, which lab.data.MNIST is not; it may be one for 'data'"]),
        (["--model", "lab.nets.MLP"], ["model must be a Family, which lab.nets.MLP is not; it may be one for 'encoder'"]),
        (["--data", "../pictures"], ["data must name a class, such as lab.data.", "not '../pictures' (on the command line)"]),
        (["--data", "null"], ["data cannot be null: it must name a class (on the command line)"]),
        (
            ["--model.optimizer", "lab.nets.MLP"],
            ["model.optimizer must name a class, such as torch.optim.", "not 'lab.nets.MLP'"],
        ),
        (["--name", "v1.0", "--modle", "3"], ["unrecognized argument --modle; did you mean '--model'?"]),
        (["--model.optimizer.betas", "[0.9]"], ["model.optimizer.betas cannot be '[0.9]' (on the command line)"]),
        (["--trainer.log_every_n_steps", "0.5"], ["trainer.log_every_n_steps must be int or null, not '0.5'"]),
        (["--data", "mnist"], ["data: there is no class 'mnist'", "'lab.data.MNIST'"]),
        (["--model.optimizer", "Adamm"], ["model.optimizer: there is no class 'Adamm'", "'torch.optim.Adam'"]),
        (["--model.encoder", "lab.nets"], ["model.encoder must be a Module, which lab.nets is not"]),
        (
            ["--model.encoder", "torch.nn.Linear"],
            ["torch.nn.Linear needs in_features, out_features", "model.encoder.in_features"],
        ),
        (["--model.scheduler", "torch.optim.lr_scheduler.CosineAnnealingLR"], ["CosineAnnealingLR needs T_max"]),
        (["--model.encoder", "torchvision.models.resnet18"], ["model.encoder must be a class", "lab.nets.Pretrained"]),
        (["--model.encoder.image_shape", "[1, 5, 5]"], ["model.encoder.image_shape is filled in from the data"]),
        (["--trainer.callbacks", "EarlyStoping"], ["'lightning.pytorch.callbacks.EarlyStopping'"]),
    ],
)
def test_a_mistake_on_the_command_line_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], says: list[str]
) -> None:
    message = _refusal(monkeypatch, tmp_path, CONFIG, *arguments)
    for part in says:
        assert part in message
    assert len(message) < 300


def test_a_class_that_a_file_names_wrongly_is_named_with_its_place_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "encoder.yaml").write_text("# mine\nclass_path: lab.nets.ConvNett\n")
    for config, arguments in (
        (CONFIG, ["--model.encoder", "encoder.yaml"]),
        (CONFIG.replace("      class_path: lab.nets.ConvNet\n      init_args: {width: 4}", "      encoder.yaml"), []),
    ):
        message = _refusal(monkeypatch, tmp_path, config, *arguments)
        assert message.startswith("model.encoder: lab.nets.ConvNett cannot be made; did you mean 'ConvNet'? (")
        assert message.endswith("encoder.yaml:2)")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data.batch_size", "44"], "needs 11 classes a batch, but there are 10"),
        (["--data.batch_size", "30"], "data.batch_size 30 must be data.samples_per_class 4 times two or more classes"),
        (["--data.image_size", "100000"], "data.image_size must be at most 4,096 pixels a side, not 100000"),
        (["--data.num_images_per_class", "3"], "class 'pattern 0' has 3 training images, fewer than data.samples_per_class 4"),
        (["--data.classes", "11"], "data.classes asks for 11 classes; Synthetic has 10"),
        (["--data.classes", "[pattern 1, patern 2]"], "did you mean 'pattern 2'?"),
        (["--data.validation_size", "1.5"], "data.validation_size must be a share below 1 or a whole number, not 1.5"),
        (["--trainer.devices", "9999"], "trainer.devices 9999 is more than the"),
        (["--data.validation_size", "5000"], "data.validation_size 5000 leaves nothing to train on"),
        (["--data.augmentation.rotate", "-3"], "data.augmentation.rotate must be from 0 to 180, not -3"),
        (["--model.encoder.depth", "6"], "depth 6 halves the image 6 times and needs 64 pixels a side"),
        (["--model.loss.margin", "-1"], "margin must be a positive number or 'soft', not -1"),
    ],
)
def test_what_a_class_refuses_is_passed_on_in_its_own_words_before_there_is_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], says: str
) -> None:
    message = _refusal(monkeypatch, tmp_path, CONFIG, "--trainer.default_root_dir", "lightning_logs", *arguments)
    assert says in message
    assert "Namespace" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "my.yaml holds no keys"),
        ("# nothing\n", "my.yaml holds no keys"),
        ("- data\n- model\n", "my.yaml holds no keys"),
        ("trainer: &itself {max_epochs: *itself}\n", "my.yaml:1 holds itself"),
        ("data: null\n" + CONFIG[CONFIG.index("model:") :], "data cannot be null: it must name a class (my.yaml:1)"),
        ("model: ~\n" + CONFIG[: CONFIG.index("model:")], "model cannot be null: it must name a class (my.yaml:1)"),
        ("name: v1.0\n" + CONFIG.replace("max_epochs", "max_epoch"), "unknown key trainer.max_epoch"),
        (
            "data: !!python/object/apply:os.system [ls]\n",
            "my.yaml:1 has the tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("[" * 3_000, "my.yaml is nested too deeply"),
        ("3: 4\n" + CONFIG, "my.yaml:1 has the key 3, which is no text: put it in quotes, or mend it"),
        ("resume: runs/mine\n", "resume is given on the command line, as --resume, not in my.yaml:1"),
        ("trainer:\n  max_epochs: 1\n  max_epochs: 2\n", "my.yaml:3 gives max_epochs again, which line 2 has given"),
        (
            CONFIG.replace("class_path: lab.m", "class_pth: lab.m"),
            "unknown key model.class_pth beside class_path; did you mean 'class",
        ),
        (
            CONFIG.replace("      init_args: {w", "      width: 3\n      init_args: {w"),
            "width beside class_path; an argument of the class stands below",
        ),
        (CONFIG.replace("    batch", "    bach: 1\n    batch"), "unknown key data.bach"),
        (
            CONFIG.replace("  class_path: lab.models.Triplet\n", ""),
            "model must name its class by class_path (my.yaml:6)",
        ),
    ],
)
def test_a_config_is_refused_by_name_for_what_the_parser_would_overlook(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, says: str
) -> None:
    assert says in _refusal(monkeypatch, tmp_path, config)


def test_the_number_of_classes_is_not_the_users_to_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    classifier = CONFIG.replace("Triplet\n", "Classifier\n").replace("    loss: lab.losses.TripletLoss\n", "")
    for config, arguments in (
        (classifier, ("--model.num_classes", "5")),
        (classifier.replace("encoder:", "num_classes: 5\n    encoder:"), ()),
    ):
        message = _refusal(monkeypatch, tmp_path, config, *arguments)
        assert message == "model.num_classes is filled in from the data: leave it out"
    message = _refusal(monkeypatch, tmp_path, classifier.replace("{width: 4}", "{image_shape: [3, 64, 64]}"))
    assert message == "model.encoder.image_shape is filled in from the data: leave it out"


def test_configs_that_name_each_other_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("data: my.yaml\n")
    assert "which leads back to it" in _refusal(monkeypatch, tmp_path, "data: other.yaml\n")


def test_a_file_that_is_not_text_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    message = _refusal(monkeypatch, tmp_path, CONFIG, "--config", "binary.yaml")
    assert message == "binary.yaml is not a text file"


def test_a_file_that_is_not_yaml_is_named_with_the_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = _refusal(monkeypatch, tmp_path, "data:\n  - [1\nmodel: 3\n")
    assert message.startswith("my.yaml:3 is not YAML")


def test_without_a_config_the_user_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "--config configs/triplet.yaml" in _refusal(monkeypatch, tmp_path, "trainer: {max_epochs: 1}\n")
