"""The table that is committed is what was measured, by the configs as they stand."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT

from lab.reproduce.catalog import read_catalog
from lab.reproduce.markdown import headline, markdown, row_of_config

FOLDER = PROJECT / "configs" / "experiments"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    return found


def test_every_row_was_measured_by_the_config_as_it_stands(record: dict[str, Any]) -> None:
    """Where one was not: run it again, or leave it out by ``reproduce.py --table --join`` and ``.ci/publish_table``."""
    catalog = read_catalog()
    for row in record["experiments"]:
        assert row["digest"] == catalog.digest(catalog.experiments[row["name"]]), row["name"]


def test_the_table_is_written_from_what_was_measured(record: dict[str, Any]) -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == markdown(record)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_head_of_a_config_has_the_figures_of_the_table(record: dict[str, Any], path: Path) -> None:
    row = row_of_config(path, record, read_catalog())
    command, *lines = path.read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.startswith("# trained ")]
    assert heads == ([headline(row, command.removeprefix("# "))] if row is not None and row["seeds"] else [])
