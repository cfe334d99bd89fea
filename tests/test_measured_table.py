"""The table that is committed is what was measured, by the configs as they stand."""

import json
import re
from typing import Any

import pytest
from conftest import PROJECT

from lab.reproduce.catalog import read_catalog
from lab.reproduce.markdown import headline, markdown

FOLDER = PROJECT / "configs" / "experiments"
HEADLINE = re.compile(r"# trained .*; row (\w+) of README.md")


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


def test_the_figures_in_the_heads_of_configs_are_those_of_the_table(record: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in record["experiments"]}
    told = 0
    for path in sorted(FOLDER.glob("*.yaml")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if (found := HEADLINE.fullmatch(line)) is not None:
                assert line == headline(rows[found[1]]), path.name
                told += 1
    assert told > 0
