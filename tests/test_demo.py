import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import Script
from PIL import Image

from lab.data import Synthetic
from lab.demo import words
from lab.demo.gallery import Gallery
from lab.demo.model import Comparison, TriedModel
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


def test_two_pictures_are_compared_as_the_model_itself_would(checkpoints: dict[str, Path], pictures: Path) -> None:
    tried = TriedModel.load(checkpoints["siamese"])
    first, second = (tried.read(pictures / name) for name in ("0.png", "1.png"))
    found = tried.compare(first, second)
    seen = [tried.trained.preparation.normalize(image.float().unsqueeze(0) / 255) for image in (first, second)]
    with torch.no_grad():
        expected = torch.dist(*(tried.trained.model(image)[0] for image in seen)).item()
    assert found.distance == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(found.threshold)
    assert tried.compare(first, first).distance == pytest.approx(0, abs=1e-3)
    assert tried.compare(first, first).probability > found.probability


def test_the_probabilities_of_the_classes_add_up_to_one(checkpoints: dict[str, Path], pictures: Path) -> None:
    tried = TriedModel.load(checkpoints["classifier"])
    probabilities = tried.classify(tried.read(pictures / "0.png"))
    assert list(probabilities) == tried.trained.preparation.class_names
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_the_nearest_in_a_gallery_to_one_of_its_pictures_is_itself(
    checkpoints: dict[str, Path], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = TriedModel.load(checkpoints["siamese"])
    gallery = Gallery.embed(pictures, tried)
    errors = capsys.readouterr().err
    assert "broken.png cannot be read" in errors
    assert "gallery: 6 of 6 pictures embedded" in errors
    assert (len(gallery.names), gallery.num_skipped) == (5, 1)
    found = gallery.nearest(tried.read(pictures / "3.png"), tried, 3)
    assert [found[0].name, len(found)] == ["3.png", 3]
    assert [one.distance for one in found] == sorted(one.distance for one in found)


def test_a_gallery_without_a_readable_picture_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="no picture that can be read"):
        Gallery.embed(tmp_path, TriedModel.load(checkpoints["siamese"]))


@pytest.mark.parametrize(
    ("distance", "threshold", "said"),
    [(0.5, 1.0, "✓ Same class"), (1.0, 1.0, "✓ Same class"), (1.5, 1.0, "✗ Different classes"), (-2.0, -1.0, "✓ Same class"),
     (0.5, math.nan, "has no threshold"), (math.nan, 1.0, "no finite numbers")],
)  # fmt: skip
def test_the_verdict_is_said_in_words(distance: float, threshold: float, said: str) -> None:
    assert said in words.verdict(Comparison(distance, threshold, 0.5, "Euclidean distance"))


def test_what_is_said_of_a_file_is_escaped_and_does_not_name_its_copy() -> None:
    said = words.refusal(ValueError("/tmp/secret/a.png cannot be read: <b>"), "The first picture")
    assert "secret" not in said
    assert "&lt;b&gt;" in said


def test_only_what_was_uploaded_is_read(checkpoints: dict[str, Path], pictures: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install -e '.[demo]'")
    from lab.demo.page import _read

    tried = TriedModel.load(checkpoints["siamese"])
    sent: dict[str, Any] = {"path": str(pictures / "0.png")}
    assert _read(tried, sent, pictures, "It")[1] == ""
    image, said = _read(tried, sent, pictures / "elsewhere", "It")
    assert image is None
    assert "was not uploaded here" in said
    assert "cannot be read" in _read(tried, {"path": str(pictures / "broken.png")}, pictures, "It")[1]
    assert _read(tried, None, pictures, "It") == (None, "")


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
