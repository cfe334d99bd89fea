import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from apply_models import CLASSES, distance, make, outputs, probability, save, write_pictures
from conftest import Script

FILES = ["x.png", "y.png", "z.png"]


@pytest.mark.parametrize("kind", ["classifier", "split_image"])
def test_a_classifier_names_its_most_probable_classes(kind: str, script: Script, tmp_path: Path) -> None:
    checkpoint = save(make(kind), tmp_path / "model.ckpt")
    paths = write_pictures(tmp_path, FILES)
    done = script("predict.py", "model.ckpt", *FILES, "--top", "2", "--json")
    assert done.returncode == 0, done.stderr
    weights = np.exp(outputs(checkpoint, paths))
    for prediction, file, row in zip(
        json.loads(done.stdout)["predictions"], FILES, weights / weights.sum(1)[:, None], strict=True
    ):
        order = np.argsort(-row)[:2]
        assert (prediction["file"], prediction["class"]) == (file, CLASSES[order[0]])
        assert [guess["class"] for guess in prediction["top"]] == [CLASSES[place] for place in order]
        assert [guess["probability"] for guess in prediction["top"]] == pytest.approx(row[order].tolist(), abs=1e-5)

    shown = script("predict.py", "model.ckpt", *FILES).stdout
    assert all(file in shown for file in FILES)
    assert shown.count("ant") == shown.count("bee") == shown.count("cat") == 3


@pytest.mark.parametrize("kind", ["siamese", "cosine", "logistic", "two_views", "triplet"])
def test_examples_are_averaged_as_embeddings_where_that_means_something_and_else_as_distances(
    kind: str, script: Script, tmp_path: Path
) -> None:
    names = {"one": ["one/a.png"], "two": ["two/a.png", "two/deep/b.png"], "three": [f"three/{i}.png" for i in range(3)]}
    checkpoint = save(make(kind), tmp_path / "model.ckpt")
    examples = {name: outputs(checkpoint, write_pictures(tmp_path / "examples", n, len(n))) for name, n in names.items()}
    queries = outputs(checkpoint, write_pictures(tmp_path, FILES, seed=9))
    per_class = []
    for query in queries:
        if kind in ("logistic", "two_views"):
            row = {n: float(np.mean([distance(kind, checkpoint, e, query) for e in rows])) for n, rows in examples.items()}
        else:
            row = {n: distance(kind, checkpoint, rows.mean(0), query) for n, rows in examples.items()}
        per_class.append(row)
    _, second, last = sorted(min(row.values()) for row in per_class)
    threshold = (second + last) / 2  # so that one is none of these
    save(make(kind), checkpoint, threshold=threshold)

    done = script("predict.py", "model.ckpt", "--examples", "examples", *FILES, "--json")
    assert done.returncode == 0, done.stderr
    verdicts = []
    for prediction, row in zip(json.loads(done.stdout)["predictions"], per_class, strict=True):
        order = sorted(row, key=lambda name: row[name])
        assert [guess["class"] for guess in prediction["top"]] == order
        assert [guess["distance"] for guess in prediction["top"]] == pytest.approx(sorted(row.values()), abs=1e-5)
        assert prediction["probability"] == pytest.approx(probability(row[order[0]]), abs=1e-5)
        near = row[order[0]] <= threshold
        assert prediction["class"] == (order[0] if near else None)
        verdicts.append(prediction["verdict"])
    assert sorted(verdicts) == ["class", "class", "none of these"]
    assert "none of these" in script("predict.py", "model.ckpt", *FILES, "--examples", "examples").stdout


def test_a_picture_as_near_to_two_classes_is_undecided(script: Script, tmp_path: Path) -> None:
    save(make("siamese"), tmp_path / "model.ckpt", threshold=100.0)
    (source,) = write_pictures(tmp_path / "examples", ["one/a.png"])
    (tmp_path / "examples" / "two").mkdir()
    shutil.copy(source, tmp_path / "examples" / "two" / "b.png")
    write_pictures(tmp_path, ["x.png"], seed=5)
    done = script("predict.py", "model.ckpt", "x.png", "--examples", "examples", "--json")
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert (prediction["verdict"], prediction["class"]) == ("undecided", None)
    assert "undecided" in script("predict.py", "model.ckpt", "x.png", "--examples", "examples").stdout


def test_without_a_threshold_the_nearest_class_is_named_without_a_probability(script: Script, tmp_path: Path) -> None:
    save(make("siamese"), tmp_path / "model.ckpt", threshold=None)
    write_pictures(tmp_path, ["examples/one/a.png", "examples/two/a.png", "x.png"])
    done = script("predict.py", "model.ckpt", "x.png", "--examples", "examples", "--json")
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert prediction["verdict"] == "class"
    assert prediction["probability"] is None
    assert "was never validated" in script("predict.py", "model.ckpt", "x.png", "--examples", "examples").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["siamese.ckpt", "x.png"], "siamese.ckpt is a Siamese, which compares pictures: show it examples of the classes"),
        (["classifier.ckpt", "x.png", "--examples", "examples"], "classifier.ckpt is a Classifier, which knows its classes"),
        (["siamese.ckpt", "x.png", "--examples", "none"], "none does not exist"),
        (["siamese.ckpt", "x.png", "--examples", "loose"], "loose/a.png lies in no class folder"),
        (["siamese.ckpt", "x.png", "--examples", "hollow"], "hollow/two has no pictures in it"),
        (["siamese.ckpt", "x.png", "--examples", "broken"], "broken/one/a.png cannot be read"),
        (["classifier.ckpt", "x.png", "gone.png"], "gone.png cannot be read: No such file or directory"),
        (["classifier.ckpt"], "the following arguments are required: PICTURE"),
        (["classifier.ckpt", "x.png", "--top", "0"], "argument --top: must be a whole number above 0, not '0'"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(arguments: list[str], says: str, script: Script, tmp_path: Path) -> None:
    save(make("siamese"), tmp_path / "siamese.ckpt")
    save(make("classifier"), tmp_path / "classifier.ckpt")
    write_pictures(tmp_path, ["x.png", "examples/one/a.png", "loose/a.png", "hollow/one/a.png", "broken/one/b.png"])
    (tmp_path / "hollow" / "two").mkdir()
    (tmp_path / "broken" / "one" / "a.png").write_text("no picture")
    done = script("predict.py", *arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
