import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT, Script

PAYLOAD = '''
import sys
from pathlib import Path
from lightning.pytorch import Callback

place = sys.path.index(str(Path(__file__).parent)) - len(sys.path)
Path(__file__).with_name("executed").write_text(str(place))  # the parser works in the folder of the config

class Payload(Callback):
    """A class that anybody could have written."""
'''
SMALL = (
    *(
        "--trainer.accelerator",
        "cpu",
        "--trainer.default_root_dir",
        ".",
        "--trainer.max_epochs",
        "1",
        "--callbacks.board",
        "false",
    ),
    *("--callbacks.pictures", "false", "--model.encoder.width", "4", "--data.num_images_per_class", "20"),
)


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
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "path", ["lab.runs.subprocess.Popen", "lab.runs.discard_run_folder", "torch.nn.modules.module.torch.load", "os.system"]
)
def test_what_can_be_reached_through_a_known_module_is_not_known_for_that(
    path: str, downloaded: Callable[..., Path], script: Script
) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["trainer"]["callbacks"] = [
            {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"on_fit_start": path}}
        ]

    refused = script("test.py", "--ckpt_path", str(downloaded(edit) / "checkpoints" / "best.ckpt"))
    assert refused.returncode == 2
    assert path.rpartition(".")[2] in refused.stderr
    assert "if you trust it: --trust" in refused.stderr or path == "os.system"


def test_a_module_that_is_trusted_is_used(downloaded: Callable[..., Path], script: Script, tmp_path: Path) -> None:
    checkpoint = str(downloaded(_as_a_callback) / "checkpoints" / "best.ckpt")
    refused = script("test.py", "--ckpt_path", checkpoint)
    assert "stranger.Payload is not of lab, PyTorch or Lightning; if you trust it: --trust stranger (" in refused.stderr
    assert "config.yaml:" in refused.stderr
    assert script("test.py", "--ckpt_path", checkpoint, "--trust", "another").returncode == 2
    assert script("test.py", "--ckpt_path", checkpoint, "--trust", "stranger.py").returncode == 2
    assert not (tmp_path / "executed").exists()
    tested = script("test.py", "--ckpt_path", checkpoint, "--trust", "another", "--trust", "stranger")
    assert tested.returncode == 0, tested.stderr
    # The working directory comes last: a file there is not taken for a library that is imported late.
    assert (tmp_path / "executed").read_text() == "-1"


def test_a_run_with_a_class_of_ones_own_ends_with_commands_that_trust_it(script: Script, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PAYLOAD + "\nfrom lab.nets import ConvNet\nclass Net(ConvNet):\n    pass\n")
    config = ["--config", str(PROJECT / "configs" / "classifier.yaml"), *SMALL, "--model.encoder", "mine.Net"]
    done = script("fit.py", *config, "--model.encoder.width", "4", "--trainer.callbacks", "[mine.Payload]")
    assert done.returncode == 0, done.stderr
    test, predict = done.stdout.rstrip().splitlines()[-2:]
    assert test.endswith(" --trust mine") and predict.endswith(" --trust mine")
    assert script("test.py", *test.split()[2:]).returncode == 0
    reported = script("report.py", "classifier/version_0")
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "report.html").read_text().count("--trust mine") == 2


def test_no_config_names_what_runs_commands(script: Script, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "trainer:\n  callbacks:\n  - class_path: lightning.pytorch.callbacks.LambdaCallback\n"
        "    init_args: {on_fit_start: os.system}\n"
    )
    refused = script("fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), "--config", "mine.yaml", *SMALL)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("must not name os.system, which runs commands or changes files (mine.yaml:4)")
