import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import Script
from PIL import Image

from lab.apply.trained import Trained
from lab.data import Synthetic
from lab.demo import words
from lab.models import Classifier, Family, Siamese
from lab.nets import MLP


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of a family that compares and of one that classifies."""
    folder = tmp_path_factory.mktemp("checkpoints")
    models: dict[str, Family] = {
        "siamese": Siamese(MLP(hidden_sizes=(8,))),
        "classifier": Classifier(MLP(hidden_sizes=(8,)), 10),
    }
    for name, model in models.items():
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                             enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        trainer.fit(
            model, Synthetic(num_train_images=200, num_test_images=20, batch_size=20, samples_per_class=4, validation_size=60)
        )
        trainer.save_checkpoint(folder / f"{name}.ckpt")
    return {name: folder / f"{name}.ckpt" for name in models}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures, one of which is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(random.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_text("no picture")
    return folder


@pytest.mark.parametrize(
    ("distance", "threshold", "said"),
    [(0.5, 1.0, "✓ Same class"), (1.0, 1.0, "✓ Same class"), (1.5, 1.0, "✗ Different classes"), (-2.0, -1.0, "✓ Same class"),
     (0.5, math.nan, "has no threshold"), (math.nan, 1.0, "no finite numbers")],
)  # fmt: skip
def test_the_verdict_is_said_in_words(distance: float, threshold: float, said: str) -> None:
    assert said in words.verdict(distance, threshold, 0.5)


def test_what_is_said_of_a_file_is_escaped_and_does_not_name_its_copy() -> None:
    said = words.refusal(ValueError("/tmp/secret/a.png cannot be read: <b>"), "The first picture")
    assert "secret" not in said
    assert "&lt;b&gt;" in said


def test_only_what_was_uploaded_is_read(checkpoints: dict[str, Path], pictures: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install -e '.[demo]'")
    from lab.demo.page import _read

    trained = Trained.load(checkpoints["siamese"])
    sent: dict[str, Any] = {"path": str(pictures / "0.png")}
    assert _read(trained, sent, pictures, "It")[1] == ""
    image, said = _read(trained, sent, pictures / "elsewhere", "It")
    assert image is None
    assert "was not uploaded here" in said
    assert "cannot be read" in _read(trained, {"path": str(pictures / "broken.png")}, pictures, "It")[1]
    assert _read(trained, None, pictures, "It") == (None, "")


def test_a_model_that_has_diverged_is_said_to_have_on_the_page(
    checkpoints: dict[str, Path], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install -e '.[demo]'")
    from lab.demo import page as made

    checkpoint = torch.load(checkpoints["siamese"], weights_only=True)
    for name, value in checkpoint["state_dict"].items():
        if name.startswith("encoder."):
            value.fill_(math.nan)
    torch.save(checkpoint, tmp_path / "diverged.ckpt")
    answers = []
    monkeypatch.setattr(made, "_when_changed", lambda upload, answer, *_: answers.append(made.told(answer, 3)))
    made.page(Trained.load(tmp_path / "diverged.ckpt"), None, pictures)
    sent = {"path": str(pictures / "0.png")}
    *shown, said = answers[0](sent, sent)
    assert shown == [None, None]
    assert "its training has diverged" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.ckpt"], "there is no checkpoint missing.ckpt"),
        (["missing.ckpt", "--gallery", "nowhere"], "--gallery nowhere does not exist"),
        (["missing.ckpt", "--port", "70000"], "--port must be between 1 and 65535"),
        ([], "required: CKPT"),
    ],
)
def test_a_mistake_on_the_command_line_of_the_demo_is_said_in_one_line(script: Script, arguments: list[str], said: str) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install -e '.[demo]'")
    done = script("demo.py", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_without_gradio_the_command_that_installs_it_is_said(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    done = script("demo.py", "a.ckpt")
    assert (done.returncode, done.stderr) == (2, "error: the page needs Gradio: pip install -e '.[demo]'\n")


def test_a_classifier_takes_no_gallery(script: Script, checkpoints: dict[str, Path], pictures: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install -e '.[demo]'")
    done = script("demo.py", str(checkpoints["classifier"]), "--gallery", str(pictures))
    assert done.returncode == 2
    assert "a Classifier does not: leave it out" in done.stderr
