import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Script:
    """Run a script of the project from another folder, in this process: importing torch anew takes longer than the runs."""

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        path = str(PROJECT / "scripts" / name)
        capfd.readouterr()
        with monkeypatch.context() as context:
            context.chdir(tmp_path)
            context.setattr(sys, "argv", [path, *arguments])
            context.setattr(sys, "path", list(sys.path))
            try:
                runpy.run_path(path, run_name="__main__")
                code = 0
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        output, errors = capfd.readouterr()
        return subprocess.CompletedProcess([path, *arguments], code, output, errors)

    return run


@pytest.fixture
def script_process(tmp_path: Path) -> Script:
    """Run a script of the project from another folder, as a process of its own."""

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(PROJECT / "scripts" / name), *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LAB_")}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False, env=environment)

    return run
