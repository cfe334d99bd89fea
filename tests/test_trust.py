import importlib.util
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT, Script
from jsonargparse import Namespace
from PIL import Image

from lab.trust import check_strangers, trust_options

PAYLOAD = '''
import sys
from pathlib import Path
from lightning.pytorch import Callback

place = sys.path.index(str(Path(__file__).parent)) - len(sys.path)
Path(__file__).with_name("executed").write_text(str(place))  # the parser works in the folder of the config

class Payload(Callback):
    """A class that anybody could have written."""
'''
SMALL = ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", ".", "--trainer.max_epochs", "1",
         "--callbacks.board", "false", "--callbacks.pictures", "false", "--model.encoder.width", "4",
         "--data.num_images_per_class", "20"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of classes of this project alone."""
    from lab.commands import fit

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as context:
        context.chdir(folder)
        context.setattr("sys.argv", ["fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *SMALL])
        fit()
    return folder / "classifier" / "version_0"


@pytest.fixture
def downloaded(trained: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Copy the run to a folder beside somebody's module, its config changed."""

    def change(edit: Callable[[dict[str, Any]], None]) -> Path:
        (tmp_path / "stranger.py").write_text(PAYLOAD)
        run = tmp_path / "downloaded"
        shutil.copytree(trained, run)
        (run / "state.json").unlink()
        config = yaml.safe_load((run / "config.yaml").read_text())
        edit(config)
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        return run

    return change


def _as_a_callback(config: dict[str, Any]) -> None:
    config["trainer"]["callbacks"] = [{"class_path": "stranger.Payload"}]


def _by_its_name_alone(config: dict[str, Any]) -> None:
    config["trainer"]["callbacks"] = ["stranger.Payload"]


def _as_a_text(config: dict[str, Any]) -> None:
    config["trainer"]["callbacks"] = json.dumps([{"class_path": "stranger.Payload"}])


def _as_the_model(config: dict[str, Any]) -> None:
    config["model"]["class_path"] = "stranger.Payload"


def _in_a_file_beside_it(config: dict[str, Any]) -> None:
    Path("downloaded", "data.txt").write_text("class_path: stranger.Payload")
    config["data"] = "data.txt"


def _where_a_number_must_be(config: dict[str, Any]) -> None:
    config["trainer"]["max_epochs"] = "stranger.Payload"


def _beside_an_unknown_key(config: dict[str, Any]) -> None:
    config["trainer"]["callbacks"] = [{"class_path": "stranger.Payload", "init_args": {}}]
    config["modle"] = "stranger.Payload"


def _as_a_default(config: dict[str, Any]) -> None:
    config["model"]["init_args"]["optimizer"] = {"class_path": "stranger.Payload"}


@pytest.mark.parametrize("command", ["test.py", "fit.py"])
@pytest.mark.parametrize(
    "edit",
    [
        _as_a_callback,
        _by_its_name_alone,
        _as_a_text,
        _as_the_model,
        _in_a_file_beside_it,
        _where_a_number_must_be,
        _beside_an_unknown_key,
        _as_a_default,
    ],
)
def test_the_config_of_a_run_makes_no_class_of_a_stranger(
    edit: Callable[[dict[str, Any]], None],
    command: str,
    downloaded: Callable[..., Path],
    script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = downloaded(edit)
    named = ["--resume", str(run)] if command == "fit.py" else ["--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    refused = script(command, *named)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert edit is _where_a_number_must_be or "--trust stranger" in refused.stderr
    assert not (tmp_path / "executed").exists()


def _called(function: str, **arguments: Any) -> Callable[[dict[str, Any]], None]:
    """Have a callback call a function with what the config says."""

    def edit(config: dict[str, Any]) -> None:
        called = {"class_path": function, "init_args": arguments} if arguments else function
        config["trainer"]["callbacks"] = [
            {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"on_fit_start": called}}
        ]

    return edit


def _unpickled(config: dict[str, Any]) -> None:
    Path("downloaded", "evil.pt").write_bytes(pickle.dumps(Unpickled()))
    _called("lightning.fabric.utilities.cloud_io._load", path_or_url=str(Path("downloaded/evil.pt").resolve()))(config)


class Unpickled:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (_called("os.system"), "os.system"),
        (_called("lab.runs.subprocess.Popen"), "lab.runs.subprocess.Popen"),
        (_called("lab.runs.discard_run_folder"), "lab.runs.discard_run_folder"),
        (_called("torch.nn.modules.module.torch.load"), "torch.serialization.load"),
        (_called("lab.models.load"), "lab.models.checkpoint.load"),
        (
            _called("lightning.pytorch.cli.instantiate_class", args="executed", init={"class_path": "os.mkdir"}),
            "lightning.pytorch.cli.instantiate_class",
        ),
        (_called("torch.nn.attention._fa3._fa3_import_module", module_path="stranger"), "torch.nn.attention._fa3"),
        (_unpickled, "lightning.fabric.utilities.cloud_io._load"),
    ],
)
def test_a_function_is_not_called_wherever_it_is(
    edit: Callable[[dict[str, Any]], None],
    named: str,
    downloaded: Callable[..., Path],
    script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    callbacks = ("--trust", "lightning.pytorch.callbacks")
    refused = script("test.py", "--ckpt_path", str(downloaded(edit) / "checkpoints" / "best.ckpt"), *callbacks)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {named}") and "if you trust it: --trust" in refused.stderr
    assert not list(tmp_path.rglob("executed"))


def test_an_argument_of_any_type_makes_nothing_of_a_stranger(
    downloaded: Callable[..., Path], script: Script, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="pytorch-metric-learning is not installed")

    def edit(config: dict[str, Any]) -> None:
        spec = {"class_path": "lightning.pytorch.cli.instantiate_class",
                "init_args": {"args": str(tmp_path / "executed"), "init": {"class_path": "os.mkdir"}}}  # fmt: skip
        loss = {"class_path": "pytorch_metric_learning.losses.ContrastiveLoss", "init_args": {"distance": spec}}
        config["model"] = {"class_path": "lab.models.Triplet", "init_args": {"encoder": "lab.nets.ConvNet", "loss": loss}}

    checkpoint = str(downloaded(edit) / "checkpoints" / "best.ckpt")
    refused = script("test.py", "--ckpt_path", checkpoint)
    assert "--trust pytorch_metric_learning.losses" in refused.stderr
    refused = script("test.py", "--ckpt_path", checkpoint, "--trust", "pytorch_metric_learning")
    assert refused.returncode == 2
    assert "lightning.pytorch.cli.instantiate_class" in refused.stderr
    assert not (tmp_path / "executed").exists()


def test_the_working_directory_does_not_stand_in_for_a_library_that_is_not_installed(
    downloaded: Callable[..., Path], script: Script, tmp_path: Path
) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["trainer"]["logger"] = {"class_path": "lightning.pytorch.loggers.WandbLogger"}

    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    (tmp_path / "wandb.py").write_text(PAYLOAD)
    checkpoint = str(downloaded(edit) / "checkpoints" / "best.ckpt")
    assert "--trust lightning.pytorch.loggers" in script("test.py", "--ckpt_path", checkpoint).stderr
    refused = script("test.py", "--ckpt_path", checkpoint, "--trust", "lightning.pytorch.loggers")
    assert refused.returncode == 2
    assert "wandb" in refused.stderr
    assert not (tmp_path / "executed").exists()


def test_a_module_that_is_trusted_is_used(downloaded: Callable[..., Path], script: Script, tmp_path: Path) -> None:
    checkpoint = str(downloaded(_as_a_callback) / "checkpoints" / "best.ckpt")
    refused = script("test.py", "--ckpt_path", checkpoint)
    assert (
        "stranger.Payload is no class of a network, a loss or data of lab, torch.nn or torch.optim; if you trust"
        in refused.stderr
    )
    assert "config.yaml:" in refused.stderr
    assert script("test.py", "--ckpt_path", checkpoint, "--trust", "another").returncode == 2
    assert script("test.py", "--ckpt_path", checkpoint, "--trust", "stranger.py").returncode == 2
    assert not (tmp_path / "executed").exists()
    tested = script("test.py", "--ckpt_path", checkpoint, "--trust", "another", "--trust", "stranger")
    assert tested.returncode == 0, tested.stderr
    # The working directory comes last: a file there is not taken for a library that is imported late.
    assert (tmp_path / "executed").read_text() == "-1"


def test_a_run_with_a_class_of_ones_own_ends_with_commands_that_trust_it(script: Script, tmp_path: Path) -> None:
    (tmp_path / "hidden.py").write_text("from lab.nets import ConvNet\nclass Net(ConvNet):\n    pass\n")
    (tmp_path / "mine.py").write_text(PAYLOAD + "\nfrom hidden import Net\ndef say(*_):\n    print('hurrah')\n")
    says = {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"on_test_start": "mine.say"}}
    config = ["--config", str(PROJECT / "configs" / "classifier.yaml"), *SMALL, "--model.encoder", "mine.Net"]
    done = script("fit.py", *config, "--model.encoder.width", "4", "--trainer.callbacks", json.dumps([says]))
    assert done.returncode == 0, done.stderr
    test, predict = done.stdout.rstrip().splitlines()[-2:]
    assert predict.endswith(" --trust mine --trust hidden")
    tested = script("test.py", *test.split()[2:])
    assert tested.returncode == 0, tested.stderr
    assert "hurrah" in tested.stdout
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    predicted = script("predict.py", *predict.replace("b.png", "a.png").split()[2:])
    assert predicted.returncode == 0, predicted.stderr
    reported = script("report.py", "classifier/version_0")
    assert reported.returncode == 0, reported.stderr
    assert "--trust" not in (tmp_path / "report.html").read_text()  # which may be of a run that a stranger has sent


def test_a_trust_that_says_nothing_or_too_much_is_refused(trained: Path, script: Script) -> None:
    checkpoint = str(trained / "checkpoints" / "best.ckpt")
    config = str(PROJECT / "configs" / "classifier.yaml")
    assert "--trust is for --resume" in script("fit.py", "--config", config, "--trust", "mine").stderr
    assert "--trust os: that is no module of classes" in script("test.py", "--ckpt_path", checkpoint, "--trust", "os").stderr
    assert "--trust a b: that is no name of a module" in script("test.py", "--ckpt_path", checkpoint, "--trust", "a b").stderr


def test_what_only_looks_like_a_class_needs_no_trust_and_is_not_let_through() -> None:
    config = Namespace(options={"class_path": "nowhere.Nothing"}, network={"class_path": "lab.nets.MLP"}, paths=["a.b"])
    assert trust_options(config) == ""
    with pytest.raises(ValueError, match=r"nowhere\.Nothing is no class of a network"):
        check_strangers(config, [])
