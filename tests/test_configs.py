import re
import sys
from pathlib import Path

import pytest
import yaml
from _pytest.mark import ParameterSet
from conftest import PROJECT

from lab.cli import LabCLI
from lab.reproduce.catalog import read_catalog
from lab.reproduce.experiment import arguments as all_arguments
from lab.reproduce.small_data import make_pictures

FAMILY_CONFIGS = sorted(path for path in (PROJECT / "configs").glob("*.yaml") if path.name != "default.yaml")
EXPERIMENTS = sorted((PROJECT / "configs" / "experiments").glob("*.yaml"))
DATA_CONFIGS = sorted((PROJECT / "configs" / "data").glob("*.yaml"))


LARGE = ("p3", "d4", "d5", "d6", "d7", "d8_judge")  # whose single step takes seconds, or which are like another


def _marked(config: Path) -> ParameterSet:
    return pytest.param(config, marks=[pytest.mark.slow] * (config.stem in LARGE))


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_pictures(root)
    return root


@pytest.mark.parametrize("config", [_marked(path) for path in (*FAMILY_CONFIGS, *EXPERIMENTS)], ids=lambda path: path.stem)
def test_every_shipped_config_trains_validates_and_tests(
    monkeypatch: pytest.MonkeyPatch, config: Path, small_data: Path
) -> None:
    catalog = read_catalog()
    data = yaml.safe_load(config.read_text())["data"]
    options = dict(catalog.fast[data["class_path"]])
    if "folder" in data["init_args"]:
        options["data.folder"] = str(small_data / Path(data["init_args"]["folder"]).name)
    rows = [experiment for experiment in catalog.experiments.values() if experiment.config_file == config]
    options |= rows[0].fast if rows else {}
    arguments = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--callbacks.freeze", "null"]
    monkeypatch.setattr(sys, "argv", ["fit.py", "--config", str(config), *all_arguments(options), *arguments])
    cli = LabCLI()
    cli.trainer.fit(cli.model, cli.datamodule)
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    assert cli.trainer.callback_metrics["test/loss"].isfinite()
    assert cli.model.monitor in {name.replace("test/", "val/") for name in cli.trainer.callback_metrics}


@pytest.mark.parametrize("config", [*FAMILY_CONFIGS, *EXPERIMENTS], ids=lambda path: path.stem)
def test_every_config_is_headed_by_its_command_and_what_was_measured_by_it(config: Path) -> None:
    lines = config.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert header[0].startswith(f"# python scripts/fit.py --config {config.relative_to(PROJECT)}")
    for line in header[1:2]:
        assert config in EXPERIMENTS or " s " in line
        assert config in EXPERIMENTS or re.search(r"(test|val)/[\w@]+ 0\.\d+", line)  # else as test_measured_table.py says
    assert len(header) > 1 or config in EXPERIMENTS
    assert len(lines) - len(header) <= 20


@pytest.mark.parametrize("data", DATA_CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("config", FAMILY_CONFIGS, ids=lambda path: path.stem)
def test_every_data_config_replaces_the_data_of_every_family_and_keeps_its_batches(
    monkeypatch: pytest.MonkeyPatch, config: Path, data: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["fit.py", "--config", str(config), "--data", str(data), "--trainer.fast_dev_run", "true"])
    monkeypatch.setattr("lab.cli.check_parts", lambda *parts, **options: None)  # only what the data say of themselves is needed
    cli = LabCLI()
    assert type(cli.datamodule).__name__.lower() == data.stem.replace("_", "")
    batch_size = yaml.safe_load(config.read_text())["data"]["init_args"]["batch_size"]
    assert cli.datamodule.batch_size == batch_size
    assert not getattr(cli.datamodule, "bundled", False)
