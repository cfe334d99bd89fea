import json
from pathlib import Path

import numpy as np
import pytest
import torch
from apply_models import distance, make, outputs, probability, save, write_pictures
from conftest import Script
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lab.apply.index
import lab.apply.trained
from lab import __version__
from lab.apply.index import Contents, Index, write_index
from lab.apply.trained import Trained

NAMES = ["a.png", *(f"cats/{i}.png" for i in range(4)), *(f"dogs/big/{i}.png" for i in range(4))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(make("siamese"), tmp_path / "model.ckpt", threshold=0.8)
    write_pictures(tmp_path / "pictures", NAMES)
    return tmp_path


def _embed(script: Script, *arguments: str) -> None:
    done = script("embed.py", "model.ckpt", "pictures", *arguments)
    assert done.returncode == 0, done.stderr


def test_an_index_holds_every_picture_and_what_it_was_made_by(script: Script, folder: Path) -> None:
    write_pictures(folder / "pictures", [".hidden.png", ".hidden/b.png"])
    (folder / "pictures" / "notes.txt").write_text("not a picture")
    (folder / "pictures" / "cats" / "loop").symlink_to(folder / "pictures", target_is_directory=True)
    done = script("embed.py", "model.ckpt", "pictures", "-o", "my.safetensors", "--batch_size", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "embedding 9 pictures of pictures\n"
    assert json.loads(done.stdout) == {
        "index": "my.safetensors",
        "embedded": 9,
        "embedding_size": 4,
        "labels": 2,
        "skipped": [],
    }
    assert (folder / "my.safetensors").stat().st_mode == (folder / "model.ckpt").stat().st_mode
    embeddings = load_file(folder / "my.safetensors")["embeddings"]
    assert embeddings.dtype == torch.float32
    expected = outputs(folder / "model.ckpt", [folder / "pictures" / name for name in NAMES])
    np.testing.assert_allclose(embeddings.numpy(), expected, atol=1e-5)
    with safe_open(folder / "my.safetensors", "pt") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert metadata == {
        "files": NAMES,
        "labels": [None, *["cats"] * 4, *["big"] * 4],
        "folder": str(folder / "pictures"),
        "checkpoint": str(folder / "model.ckpt"),
        "digest": Trained.load(folder / "model.ckpt", "cpu").digest,
        "distance": "euclidean",
        "version": __version__,
    }


def test_broken_pictures_are_named_and_left_out(script: Script, folder: Path) -> None:
    for name in ("0.jpg", "cats/zz.png", "phone.heic"):
        (folder / "pictures" / name).write_text("no picture")
    (folder / "pictures" / "dogs" / "gone.png").symlink_to("nowhere.png")
    done = script("embed.py", "model.ckpt", "pictures", "--batch_size", "1", "--json")
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert [line.split()[1] for line in warnings] == [
        f"pictures/{n}" for n in ("0.jpg", "cats/zz.png", "dogs/gone.png", "phone.heic")
    ]
    assert len(json.loads(done.stdout)["skipped"]) == 4
    with safe_open(folder / "index.safetensors", "pt") as file:
        assert json.loads(file.metadata()["files"]) == NAMES
    assert (
        "9 pictures in 2 labelled folders embedded as 4 numbers each, 4 skipped"
        in script("embed.py", "model.ckpt", "pictures").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model.ckpt", "none"], "none does not exist"),
        (["model.ckpt", "model.ckpt"], "model.ckpt is not a folder"),
        (["model.ckpt", "empty"], "empty has no pictures in it"),
        (["model.ckpt", "broken"], "none of the 2 pictures in broken can be read, such as: broken/a.png cannot be read"),
        (["model.ckpt", "pictures", "-o", "out/index.safetensors"], "cannot be written: there is no folder out"),
        (["model.ckpt", "pictures", "-o", "a.png"], "the file to write, a.png, must end in .safetensors"),
        (["model.ckpt", "pictures", "-o", "folder.safetensors"], "folder.safetensors cannot be written: it is a folder"),
        (["classifier.ckpt", "pictures"], "classifier.ckpt is a Classifier, which tells classes"),
    ],
)
def test_what_cannot_be_embedded_is_said_in_one_line_and_leaves_nothing(
    arguments: list[str], says: str, script: Script, folder: Path
) -> None:
    save(make("classifier"), folder / "classifier.ckpt")
    for name in ("empty", "broken", "folder.safetensors"):
        (folder / name).mkdir()
    for name in ("a.png", "b.png"):
        (folder / "broken" / name).write_text("no picture")
    before = sorted(folder.rglob("*"))
    done = script("embed.py", *arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert sorted(folder.rglob("*")) == before


def test_an_index_that_was_there_is_kept_when_the_new_one_fails(
    script: Script, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "index.safetensors").write_text("the old one")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lab.apply.index, "save_file", fail)
    done = script("embed.py", "model.ckpt", "pictures")
    assert done.returncode == 2
    assert "error: index.safetensors cannot be written: No space left on device" in done.stderr
    assert [path.name for path in folder.glob("*index*")] == ["index.safetensors"]
    assert (folder / "index.safetensors").read_text() == "the old one"


@pytest.mark.parametrize("kind", ["siamese", "cosine", "logistic", "two_views", "triplet"])
def test_the_nearest_are_those_of_a_plain_loop(
    kind: str, script: Script, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.apply.trained, "MAX_CHUNK_ELEMENTS", 12)
    monkeypatch.setattr(lab.apply.index, "MAX_CHUNK_ELEMENTS", 20)
    save(make(kind), folder / "model.ckpt", threshold=0.6)
    _embed(script)
    query = write_pictures(folder, ["query.png"], seed=7)[0]
    done = script("search.py", "model.ckpt", "index.safetensors", "query.png", "-k", "6", "--json")
    assert done.returncode == 0, done.stderr
    rows = outputs(folder / "model.ckpt", [query, *(folder / "pictures" / name for name in NAMES)])
    distances = [distance(kind, folder / "model.ckpt", rows[0], row) for row in rows[1:]]
    order = np.argsort(distances, kind="stable")[:6]
    record = json.loads(done.stdout)
    assert record["searched"] == 9
    assert [hit["file"] for hit in record["hits"]] == [NAMES[place] for place in order]
    for rank, (hit, place) in enumerate(zip(record["hits"], order, strict=True), start=1):
        assert hit["rank"] == rank
        assert hit["distance"] == pytest.approx(distances[place], abs=1e-5)
        assert hit["same"] == (distances[place] <= 0.6)
        assert hit["probability"] == pytest.approx(probability(distances[place]), abs=1e-5)
        assert hit["label"] == (NAMES[place].split("/")[-2] if "/" in NAMES[place] else None)
        assert not hit["is_query"]
        assert not hit["is_missing"]


def test_a_query_of_the_index_is_marked_and_what_is_gone_is_still_listed(script: Script, folder: Path) -> None:
    _embed(script)
    (folder / "pictures" / NAMES[3]).unlink()
    done = script("search.py", "model.ckpt", "index.safetensors", "pictures/a.png", "-o", "result.png", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert len(record["hits"]) == 9  # fewer than ten there are
    assert [hit["file"] for hit in record["hits"] if hit["is_query"]] == ["a.png"] == [record["hits"][0]["file"]]
    assert record["hits"][0]["distance"] == pytest.approx(0, abs=1e-5)
    assert [hit["file"] for hit in record["hits"] if hit["is_missing"]] == [NAMES[3]]
    assert record["picture"] == "result.png"
    with Image.open(folder / "result.png") as picture:
        assert picture.width > 9 * 100

    shown = script("search.py", "model.ckpt", "index.safetensors", "pictures/a.png", "-k", "2").stdout
    assert "a.png (the query itself)" in shown
    assert "picture: search.png" in shown
    assert (folder / "search.png").is_file()


def test_a_model_without_a_threshold_ranks_and_says_so(script: Script, folder: Path) -> None:
    save(make("siamese"), folder / "model.ckpt", threshold=None)
    _embed(script)
    done = script("search.py", "model.ckpt", "index.safetensors", "pictures/a.png", "-k", "3", "--json")
    record = json.loads(done.stdout)
    assert record["threshold"] is None
    assert {(hit["same"], hit["probability"]) for hit in record["hits"]} == {(None, None)}
    shown = script("search.py", "model.ckpt", "index.safetensors", "pictures/a.png", "-k", "3").stdout
    assert "the model was never validated" in shown
    assert "same?" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["other.ckpt", "index.safetensors", "query.png"], "index.safetensors was made with other weights, of"),
        (["model.ckpt", "none.safetensors", "query.png"], "there is no index none.safetensors: scripts/embed.py makes one"),
        (["model.ckpt", "query.png", "query.png"], "query.png is not an index of scripts/embed.py, or not whole"),
        (["model.ckpt", "cut.safetensors", "query.png"], "cut.safetensors is not an index of scripts/embed.py, or not whole"),
        (["model.ckpt", "bare.safetensors", "query.png"], "bare.safetensors is not an index of scripts/embed.py"),
        (["model.ckpt", "index.safetensors", "gone.png"], "gone.png cannot be read: No such file or directory"),
        (
            ["model.ckpt", "index.safetensors", "query.png", "-k", "10"],
            "-k 10 is more than the 9 pictures of index.safetensors",
        ),
        (["model.ckpt", "index.safetensors", "query.png", "-k", "none"], "argument -k: must be a whole number above 0"),
        (["model.ckpt", "index.safetensors", "query.png", "-o", "query.png"], "query.png is one of the pictures"),
        (["model.ckpt", "index.safetensors", "query.png", "-o", "pictures/a.png"], "pictures/a.png is one of the pictures"),
        (
            ["model.ckpt", "index.safetensors", "query.png", "-o", "no/b.png"],
            "no/b.png cannot be written: there is no folder no",
        ),
        (["model.ckpt", "index.safetensors", "query.png", "-o", "b.jpg"], "the file to write, b.jpg, must end in .png"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(arguments: list[str], says: str, script: Script, folder: Path) -> None:
    _embed(script)
    save(make("triplet"), folder / "other.ckpt")
    write_pictures(folder, ["query.png"])
    whole = (folder / "index.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-9])
    save_file({"embeddings": torch.zeros(9, 4)}, folder / "bare.safetensors")
    before = set(folder.rglob("*"))
    done = script("search.py", *arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert set(folder.rglob("*")) == before


def test_equally_near_pictures_come_in_the_order_of_the_index(folder: Path) -> None:
    trained = Trained.load(folder / "model.ckpt", "cpu")
    contents = Contents.of(trained, folder, [f"{i}.png" for i in range(50)])
    write_index(folder / "equal.safetensors", torch.ones(50, 4), contents)
    distances = Index.open(folder / "equal.safetensors").distances_from(trained, torch.zeros(4))
    assert distances.tolist() == [2.0] * 50
    assert distances.sort(stable=True).indices.tolist() == list(range(50))
