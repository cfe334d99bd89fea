import contextlib
import gc
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonargparse._common import parsing_settings

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: one thread for each of several processes
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).parent.parent
Script = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: it would be gone through again and again."""
    gc.collect()
    gc.freeze()


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
            for setting in ("import_path_verdicts", "import_paths_enforced"):  # which end with a process
                context.setitem(parsing_settings, setting, parsing_settings[setting])
            try:
                runpy.run_path(path, run_name="__main__")
                code = 0
            except SystemExit as stopped:
                code = int(stopped.code or 0)
            finally:
                _forget(tmp_path)
        output, errors = capfd.readouterr()
        return subprocess.CompletedProcess([path, *arguments], code, output, errors)

    return run


def _forget(folder: Path) -> None:
    """Forget the modules that came from a folder, so that the next test's of the same name are not taken for them."""
    below = f"{folder}{os.sep}"
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(below):
            del sys.modules[name]


@pytest.fixture
def script_process(tmp_path: Path) -> Script:
    """Run a script of the project from another folder, as a process of its own."""

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(PROJECT / "scripts" / name), *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LAB_")}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False, env=environment)

    return run


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Make a folder that other users may look into, unlike ``tmp_path``."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def forbidden(path: Path, mode: int) -> Iterator[None]:
    """Give a path no more rights than these, and be somebody who has no others: root gives up its own meanwhile."""
    before, user = path.stat().st_mode, os.geteuid()
    path.chmod(mode)
    try:
        if user == 0:
            os.seteuid(65534)  # nobody
        yield
    finally:
        os.seteuid(user)
        path.chmod(before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start a browser that is installed already, without a screen; skip where there is none."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no chromium, chromium-browser or google-chrome is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[test]'")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield chromium
        chromium.close()
