"""Whatever is wrong in a config is said in one line, and what is right is taken as it was written."""

import math
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT, Script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import commands
from lab.cli import LabCLI
from lab.runs import discard_run_folder

FAMILIES = ("classifier", "siamese", "triplet", "split_image")
QUICK = ("--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "1", "--data.num_images_per_class", "20")
# Other processes, machines and downloads; and what would replace QUICK.
LEFT_OUT = {
    *("accelerator", "strategy", "devices", "num_nodes", "fast_dev_run", "default_root_dir", "num_images_per_class"),
    *("bundled", "root", "ckpt_path", "encoder_from", "resume", "config", "debug"),
    "name",  # of which null is the config's
}
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        "",
        " ",
        "none",
        "auto",
        "[",
        "{",
        '"',
        "*a",
        "&a",
        "${HOME}",
        "1e-3",
        "0x10",
        "1_000",
        "~",
        "é漢",
        ".",
    ),
    *(-1, 0, 1, 2, 3, 7, 1_000, 10**11, -0.5, 0.5, 1.5, 1e308, math.nan, math.inf, -math.inf),
    *(
        [],
        [1, 2],
        [1, "a"],
        {},
        {"a": 1},
        {"class_path": "os.system"},
        {"class_path": "lab.nets.MLP", "init_args": {"depht": 1}},
    ),
    *(
        "os.system",
        "lab.nets.MLP",
        "lab.models.Triplet",
        "lab.data.Synthetic",
        "torch.nn.MSELoss",
        "torch.optim.SGD",
        "lab.nets",
    ),
    *("!!python/object/apply:os.system ['touch attacked']", "x" * 300),
]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.integers(-100, 100),
    st.floats(),
    st.text(string.printable, max_size=12),
    st.lists(st.one_of(st.integers(-3, 3), st.text("ab:", max_size=3)), max_size=3),
)


def _keys(settings: dict[str, Any], above: str = "") -> Iterator[str]:
    """List the dotted keys of a resolved config."""
    for name, value in settings.items():
        if name == "init_args":
            yield from _keys(value, above)
        elif name != "class_path" and name not in LEFT_OUT:
            yield f"{above}{name}"
            if isinstance(value, dict):
                yield from _keys(value, f"{above}{name}.")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """All keys of a run of each family."""
    found = {}
    with pytest.MonkeyPatch.context() as context:
        context.chdir(tmp_path_factory.mktemp("keys"))
        for name in FAMILIES:
            context.setattr("sys.argv", ["fit.py", "--config", str(PROJECT / "configs" / f"{name}.yaml"), "--name", name])
            cli = LabCLI()
            resolved = yaml.safe_load(cli.parser.dump(cli.config, skip_unset=False))
            found[name] = sorted(set(_keys(resolved)))
            discard_run_folder(cli.run_folder)
    return found


def _taken(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config["init_args"] if name not in config and "init_args" in config else config
        config = config[name]
    return config


def _is_as_written(taken: Any, written: Any) -> bool:
    if isinstance(written, dict) or (isinstance(written, str) and "." in written):  # a class, or some keys of several
        return True
    if isinstance(written, list) and isinstance(taken, list | tuple):
        return len(written) == len(taken) and all(_is_as_written(*pair) for pair in zip(taken, written, strict=True))
    if isinstance(written, str) and written != taken:
        try:  # as on a command line
            return _is_as_written(taken, float(written) if isinstance(taken, float) else yaml.safe_load(written))
        except (ValueError, yaml.YAMLError):
            return False
    same = isinstance(taken, int | float) and isinstance(written, int | float)
    return (
        (math.isnan(taken) and math.isnan(written)) or taken == written if same else str(taken).lower() == str(written).lower()
    )


def _check(keys: dict[str, list[str]], script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any) -> None:
    family = data.draw(st.sampled_from(FAMILIES), label="family")
    key = data.draw(st.sampled_from(keys[family]), label="key")
    if data.draw(st.integers(0, 9), label="misspelt if 0") == 0:
        key = data.draw(st.sampled_from([key[:-1], f"{key}s", key.upper(), f"{key}.x", f"x.{key}"]), label="misspelt")
    value = data.draw(VALUES, label="value")
    if data.draw(st.booleans(), label="in a file"):
        written: Any = value
        for name in reversed(key.split(".")):
            written = {name: written}
        (tmp_path / "odd.yaml").write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
        arguments, as_typed = ["--config", "odd.yaml"], None
    else:
        dumped = yaml.safe_dump(value, default_flow_style=True, width=1_000)
        as_typed = dumped.strip().removesuffix("...").strip()
        arguments = [f"--{key}={as_typed}"]
    made: list[LabCLI] = []
    train = commands._train_and_score

    def train_and_keep(cli: LabCLI, milestones: Any) -> None:
        made.append(cli)
        train(cli, milestones)

    monkeypatch.setattr(commands, "_train_and_score", train_and_keep)
    try:
        done = script("fit.py", "--config", str(PROJECT / "configs" / f"{family}.yaml"), *QUICK, *arguments)
    finally:
        monkeypatch.setattr(commands, "_train_and_score", train)
    assert not (tmp_path / "attacked").exists()
    if done.returncode == 0:
        taken = _taken(made[0].config, key)
        assert (isinstance(value, str) and taken == as_typed) or _is_as_written(taken, value), arguments
    else:
        assert done.returncode == 2
        errors = [line for line in done.stderr.splitlines() if line]
        assert errors[-1].startswith("error: ") and len(errors[-1]) > len("error: ")
        assert sum(line.startswith("error: ") for line in errors) == 1
        assert "Traceback" not in done.stderr


COMMON: Any = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@given(data=st.data())
@settings(max_examples=10, derandomize=True, **COMMON)
def test_an_odd_value_ends_in_one_line_or_is_taken_as_it_is(
    keys: dict[str, list[str]], script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    _check(keys, script, tmp_path, monkeypatch, data)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=1_500, **COMMON)
def test_many_odd_values_end_in_one_line_or_are_taken_as_they_are(
    keys: dict[str, list[str]], script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    _check(keys, script, tmp_path, monkeypatch, data)


@given(text=st.one_of(st.text(max_size=60), st.binary(max_size=60)))
@settings(max_examples=10, derandomize=True, **COMMON)
def test_any_file_at_all_given_as_a_config_ends_in_one_line_or_sets_nothing(
    script: Script, tmp_path: Path, text: str | bytes
) -> None:
    (tmp_path / "odd.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = script("fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *QUICK, "--config", "odd.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
