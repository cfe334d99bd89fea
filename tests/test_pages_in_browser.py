import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image

from lab.callbacks import drawn
from lab.report.page import page_of
from lab.report.run import read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, as small as it can be."""
    folder = tmp_path_factory.mktemp("runs")
    from lab.commands import fit

    small = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--data.num_images_per_class", "20"]
    small += ["--model.evaluation.num_pairs", "500", "--callbacks.board", "false"]
    with pytest.MonkeyPatch.context() as context:
        context.chdir(folder)
        context.setattr(drawn, "NUM_EMBEDDED", 40)
        config = str(PROJECT / "configs" / "siamese.yaml")
        folders = ["--trainer.default_root_dir", str(folder), "--model.encoder.width", "4"]
        context.setattr("sys.argv", ["fit.py", "--config", config, *small, *folders])
        fit()
    return folder / "siamese" / "version_0"


def _opened(browser: Any, page: Path, width: int) -> tuple[Any, list[str], list[str]]:
    """Open a page as wide as a screen; return it with what the console said and what was asked for."""
    opened = browser.new_page(viewport={"width": width, "height": 800}, java_script_enabled=True)
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(page.as_uri())
    return opened, said, [url for url in asked if not url.startswith(("file://", "data:"))]


def _check(opened: Any, said: list[str], asked: list[str], width: int) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert opened.evaluate("document.images.length") >= 10
    assert (said, asked) == ([], [])


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_of_a_run_shows_its_scores_and_pictures_on_a_phone_and_on_a_desk(
    browser: Any, run: Path, tmp_path: Path, width: int
) -> None:
    (tmp_path / "report.html").write_text(page_of([read_run(run)]), encoding="utf-8")
    assert (tmp_path / "report.html").stat().st_size < 4_000_000
    opened, said, asked = _opened(browser, tmp_path / "report.html", width)
    text = opened.inner_text("body")
    record = json.loads((run / "metrics.json").read_text())
    scores = {name: score for name, score in record.items() if name.startswith("test/")}
    assert len(scores) > 5
    assert all(name in text and f"{score:.4f}" in text for name, score in scores.items())
    _check(opened, said, asked, width)
    opened.close()


@pytest.fixture(scope="module")
def comparison(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run and of one that differs from it in one setting."""
    folder = tmp_path_factory.mktemp("comparison")
    other = folder / "siamese" / "version_1"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("*.ckpt", "events*"))
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("margin: 5.0", "margin: 1.5"))
    (folder / "report.html").write_text(page_of([read_run(run), read_run(other)]), encoding="utf-8")
    return folder / "report.html"


@pytest.mark.parametrize("width", [375, 1280])
def test_a_comparison_names_its_runs_and_the_setting_in_which_they_differ(browser: Any, comparison: Path, width: int) -> None:
    opened, said, asked = _opened(browser, comparison, width)
    text = opened.inner_text("main")
    assert all(expected in text for expected in ("siamese/version_0", "siamese/version_1", "model.loss.margin", "5.0", "1.5"))
    _check(opened, said, asked, width)
    opened.close()


def test_on_paper_nothing_is_collapsed(browser: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page_of([read_run(run)]), encoding="utf-8")
    opened, _, _ = _opened(browser, tmp_path / "report.html", 800)
    assert opened.evaluate("document.querySelector('.file').checkVisibility({contentVisibilityAuto: true})") is False
    opened.emulate_media(media="print")
    assert opened.evaluate("document.querySelector('.file').getBoundingClientRect().height") > 100
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    opened.close()


@pytest.fixture(scope="module")
def address(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the demo of a real run as a process of its own."""
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install -e '.[demo]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("demo")
    log = (folder / "log").open("w")
    command = [
        sys.executable,
        str(PROJECT / "scripts" / "demo.py"),
        str(run / "checkpoints" / "best.ckpt"),
        "--port",
        str(port),
    ]
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=PROJECT, env=environment)
    try:
        deadline = time.monotonic() + 90
        while "open http://127.0.0.1" not in (folder / "log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()
    assert list(folder.glob("lab_demo_*")) == []  # what was uploaded is gone


@pytest.mark.slow
def test_two_pictures_dropped_into_the_demo_get_a_verdict_and_what_is_no_picture_an_error(
    browser: Any, address: str, tmp_path: Path
) -> None:
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (30, 30), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_text("no picture")
    asked: list[str] = []
    opened = browser.new_page()
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#answer")
    fields = opened.locator("input[type=file]")
    fields.nth(1).wait_for(state="attached")
    fields.nth(0).set_input_files(tmp_path / "broken.png")
    opened.get_by_text("The first picture cannot be read").wait_for()
    assert str(tempfile.gettempdir()) not in opened.inner_text("#answer")
    fields.nth(0).set_input_files(tmp_path / "0.png")
    opened.get_by_text("Drop a picture into each of the two fields").wait_for()
    fields.nth(1).set_input_files(tmp_path / "1.png")
    opened.locator(".verdict").wait_for()
    assert opened.inner_text(".verdict").split(maxsplit=1)[1] in ("Same class", "Different classes")
    assert "threshold" in opened.inner_text("#answer")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    opened.close()


@pytest.mark.slow
def test_an_upload_above_ten_megabytes_is_refused(address: str) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        + bytes(11 * 1024**2)
        + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{address}/gradio_api/upload", body, headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 413
