import ast
from pathlib import Path

import pytest

LAB = Path(__file__).parent.parent / "lab"
MAY_IMPORT = {
    "data": {"data"},
    "nets": {"nets"},
    "losses": {"losses"},
    "metrics": {"metrics"},
    "plots": {"plots"},
    "models": {"models", "nets", "losses", "metrics"},
    "apply": {
        "apply",
        "arguments",
        "data",
        "metrics",
        "models",
        "plots",
        "writing",
    },  # for scripts/, demo, clean
    "benchmark": {
        "benchmark",
        "arguments",
        "busy",
        "commands",
        "data",
        "device",
        "freed_memory",
        "losses",
        "metrics",
        "nets",
        "plots",
        "runs",
        "writing",
    },
    "callbacks": {"callbacks", "configuration", "metrics", "plots", "writing"},
    "clean": {
        *(
            "apply",
            "arguments",
            "clean",
            "cli",
            "commands",
            "config_files",
            "configuration",
            "data",
            "metrics",
            "options",
            "plots",
        ),
        *("run_list", "runs", "writing"),
    },
    "config_files": set(),
    "complaint": {"config_files"},
    "explain": {"complaint", "config_files", "trust"},
    "refusals": set(),
    "resume": {"models", "options", "run_list", "runs", "writing"},
    "options": set(),
    "device": set(),
    "busy": set(),
    "overlooked": {"config_files"},
    "runs": {"writing"},
    "instantiation": set(),
    "trust": set(),
    "writing": set(),
    "run_list": set(),
    "check_command": {"arguments", "data", "writing"},
    "caltech_command": {"arguments", "data"},
    "runs_command": {"arguments", "run_list", "runs", "writing"},
    "configuration": set(),
    "arguments": {"freed_memory"},
    "freed_memory": set(),
    "report": {"report", "arguments", "configuration", "plots", "runs", "writing"},
    "reproduce": {
        "reproduce",
        "arguments",
        "plots",
        "report",
        "run_list",
        "runs",
        "workers",
        "writing",
    },  # which only scripts/ imports
    "demo": {"apply", "arguments", "data", "demo"},
    "sweep": {
        "configuration",
        "arguments",
        "callbacks",
        "cli",
        "commands",
        "config_files",
        "options",
        "plots",
        "preflight",
        "run_list",
        "runs",
        "sweep",
        "workers",
        "writing",
    },
    "workers": set(),
    "preflight": {"config_files", "device", "models", "runs"},
    "cli": {
        "callbacks",
        "complaint",
        "config_files",
        "configuration",
        "data",
        "explain",
        "instantiation",
        "metrics",
        "models",
        "preflight",
        "refusals",
        "runs",
        "options",
        "overlooked",
        "resume",
        "trust",
        "writing",
    },
    "commands": {"arguments", "busy", "callbacks", "cli", "device", "models", "options", "resume", "runs", "trust"},
}


def _rooms_imported_by(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, out of this test's sight"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("lab.")}
    return rooms


@pytest.mark.parametrize("path", sorted(LAB.rglob("*.py")), ids=lambda path: str(path.relative_to(LAB)))
def test_every_room_imports_only_from_the_rooms_the_design_allows(path: Path) -> None:
    room = path.relative_to(LAB).parts[0].removesuffix(".py")
    if room == "__init__":
        assert _rooms_imported_by(path) == set()
    else:
        assert _rooms_imported_by(path) <= MAY_IMPORT[room]


def test_no_file_grows_beyond_two_hundred_and_twenty_lines_and_none_is_a_drawer() -> None:
    for path in LAB.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 220, path
        assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_the_base_family_fits_on_a_page() -> None:
    code = [line for line in (LAB / "models" / "base.py").read_text().splitlines() if line.strip()]
    tree = ast.parse((LAB / "models" / "base.py").read_text())
    family = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    assert family.end_lineno is not None
    assert family.end_lineno - family.lineno < 100
    assert len(code) < 110
