import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from apply_models import CLASSES, OFFSET, SLOPE, distance, make, outputs, probability, save, write_pictures
from conftest import Script
from PIL import Image

import lab.apply.graphs
from lab import __version__


def _pixels(paths: list[Path]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.stack([np.asarray(Image.open(path), dtype=np.float32)[None] / 255 for path in paths])


def _known(path: Path) -> dict[str, Any]:
    if path.suffix == ".pt2":
        extra = {"facts.json": ""}
        torch.export.load(path, extra_files=extra)
        known: dict[str, Any] = json.loads(extra["facts.json"])
        return known
    texts = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return {
        name: text if name in ("family", "lab_version", "weights", "distance") else json.loads(text)
        for name, text in texts.items()
    }


@pytest.mark.parametrize("kind", ["siamese", pytest.param("logistic_two_views", marks=pytest.mark.slow)])
def test_exported_networks_give_the_embeddings_distances_and_probabilities_of_the_model(
    kind: str, script: Script, tmp_path: Path
) -> None:
    checkpoint = save(make(kind), tmp_path / "model.ckpt")
    paths = write_pictures(tmp_path / "pictures", [f"{i}.png" for i in range(5)])
    done = script("export.py", "model.ckpt", "-o", "out", "--check", "pictures", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["checked_on"] == "5 pictures in pictures"
    assert record["files"].keys() == {"encoder.onnx", "encoder.pt2", "pair.onnx", "pair.pt2"}
    assert all(file["difference"] <= 1e-5 for file in record["files"].values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "out", "pictures"]

    images, expected = _pixels(paths), outputs(checkpoint, paths)
    pairs = [distance(kind, checkpoint, expected[i], expected[i - 1]) for i in range(5)]
    likely = [probability(value) for value in pairs]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "encoder.onnx")
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "pair.onnx")
    given = session.run(["distance", "probability"], {"first": images, "second": np.roll(images, 1, 0)})
    np.testing.assert_allclose(given, [pairs, likely], atol=1e-5)
    batch = torch.from_numpy(images)
    np.testing.assert_allclose(torch.export.load(tmp_path / "out/encoder.pt2").module()(batch), expected, atol=1e-5)
    given = torch.stack(torch.export.load(tmp_path / "out/pair.pt2").module()(batch, batch.roll(1, 0)))
    np.testing.assert_allclose(given, [pairs, likely], atol=1e-5)

    for path in (tmp_path / "out").iterdir():
        known = _known(path)
        assert (known["threshold"], known["slope"], known["offset"]) == (0.5, SLOPE, OFFSET)
        assert (known["class_names"], known["image_shape"], known["family"]) == (CLASSES, [1, 8, 8], "Siamese")
        assert (known["lab_version"], known["preparation"]["fit"]) == (__version__, "crop")
        assert known["distance"] == ("euclidean" if kind == "siamese" else "pair")


@pytest.mark.parametrize("kind", ["classifier", "split_image"])
def test_exported_classifiers_give_probabilities(kind: str, script: Script, tmp_path: Path) -> None:
    checkpoint = save(make(kind), tmp_path / "model.ckpt")
    paths = write_pictures(tmp_path, [f"{i}.png" for i in range(3)])
    done = script("export.py", "model.ckpt")
    assert done.returncode == 0, done.stderr
    assert "7 random images, as --check names no pictures" in done.stdout
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["encoder.onnx", "encoder.pt2"]
    weights = np.exp(outputs(checkpoint, paths))
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "encoder.onnx")
    assert [given.name for given in session.get_outputs()] == ["probabilities"]
    np.testing.assert_allclose(session.run(None, {"images": _pixels(paths)})[0], weights / weights.sum(1)[:, None], atol=1e-6)
    assert "threshold" not in _known(tmp_path / "exported" / "encoder.pt2")


def test_a_file_that_differs_is_refused_and_nothing_is_left(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make("siamese"), tmp_path / "model.ckpt")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "encoder.pt2").write_text("the old one")
    right = lab.apply.graphs.Encoder.forward
    monkeypatch.setattr(lab.apply.graphs.Encoder, "forward", lambda self, images: right(self, images) + 2e-4)
    done = script("export.py", "model.ckpt", "-o", "out", "--format", "torch", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: encoder.pt2 differs from model.ckpt by 0.0002 on 7 random images" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "out"]
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["the old one"]


def test_a_number_of_images_that_is_not_free_is_refused(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make("siamese"), tmp_path / "model.ckpt")
    monkeypatch.setattr(
        lab.apply.graphs.Encoder, "forward", lambda self, images: self.model((images - self.mean) / self.std).view(2, 4)
    )
    done = script("export.py", "model.ckpt", "--format", "torch")
    assert done.returncode == 2
    assert "error: encoder.pt2 cannot be exported: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "exported").exists()


def test_without_a_threshold_the_probability_is_not_a_number(script: Script, tmp_path: Path) -> None:
    save(make("siamese"), tmp_path / "model.ckpt", threshold=None)
    done = script("export.py", "model.ckpt", "--format", "torch")
    assert done.returncode == 0, done.stderr
    assert "the model was never validated" in done.stdout
    images = torch.rand(3, 1, 8, 8)
    distances, likely = torch.export.load(tmp_path / "exported/pair.pt2").module()(images, images.roll(1, 0))
    assert distances.isfinite().all()
    assert likely.isnan().all()
    assert _known(tmp_path / "exported/pair.pt2")["threshold"] is None


def test_without_the_packages_for_onnx_the_other_format_works(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make("classifier"), tmp_path / "model.ckpt")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if "onnx" in name else found(name, *rest))
    done = script("export.py", "model.ckpt")
    assert done.returncode == 2
    assert done.stderr == (
        "error: for ONNX, onnx, onnxscript, onnxruntime are needed: pip install -e '.[export]', or leave it out by "
        "--format torch\n"
    )
    done = script("export.py", "model.ckpt", "--format", "torch")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "tensorflow"], "--format tensorflow: must be onnx, torch, or both, onnx,torch"),
        (["-o", "model.ckpt"], "model.ckpt cannot be written: it is not a folder"),
        (["-o", "none/out"], "none/out cannot be written: there is no folder none"),
        (["--check", "pictures"], "pictures has 2 pictures; at least 3 are needed to check an export on"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(arguments: list[str], says: str, script: Script, tmp_path: Path) -> None:
    save(make("siamese"), tmp_path / "model.ckpt")
    write_pictures(tmp_path / "pictures", ["a.png", "b.png"])
    done = script("export.py", "model.ckpt", *arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {says}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "pictures"]
