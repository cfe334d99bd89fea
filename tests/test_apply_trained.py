import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from apply_models import SHAPE, distance, make, outputs, probability, save, write_pictures
from conftest import Script
from PIL import Image

from lab.apply.reading import read_batches
from lab.apply.trained import Trained
from lab.models import Triplet

EMBEDDING_KINDS = ("siamese", "cosine", "logistic", "two_views", "triplet")


@pytest.mark.parametrize("kind", EMBEDDING_KINDS)
def test_embeddings_distances_verdicts_and_probabilities_are_those_of_the_definition(kind: str, tmp_path: Path) -> None:
    checkpoint = save(make(kind), tmp_path / "model.ckpt")
    paths = write_pictures(tmp_path, [f"{i}.png" for i in range(7)])
    trained = Trained.load(checkpoint, "cpu", batch_size=3)
    embeddings = trained.embed(paths)
    expected = outputs(checkpoint, paths)
    assert embeddings.dtype == torch.float32
    np.testing.assert_allclose(embeddings.numpy(), expected, atol=1e-5)

    compared = trained.compare(embeddings[:-1], embeddings[1:])
    for place, (value, same, likely) in enumerate(zip(*(column.tolist() for column in compared), strict=True)):
        wanted = distance(kind, checkpoint, expected[place], expected[place + 1])
        assert value == pytest.approx(wanted, abs=1e-5)
        assert same == (wanted <= 0.5)
        assert likely == pytest.approx(probability(wanted), abs=1e-5)


@pytest.mark.parametrize("kind", ["classifier", "split_image"])
def test_class_probabilities_are_the_softmax_of_the_models_outputs(kind: str, tmp_path: Path) -> None:
    checkpoint = save(make(kind), tmp_path / "model.ckpt")
    paths = write_pictures(tmp_path, [f"{i}.png" for i in range(5)])
    weights = np.exp(outputs(checkpoint, paths))
    probabilities = Trained.load(checkpoint, "cpu", batch_size=2).classify(paths)
    np.testing.assert_allclose(probabilities.numpy(), weights / weights.sum(1, keepdims=True), atol=1e-6)


def test_a_pair_at_the_threshold_is_the_same(tmp_path: Path) -> None:
    trained = Trained.load(save(make("siamese"), tmp_path / "model.ckpt"), "cpu")
    embeddings = torch.tensor([[0.0, 0, 0, 0], [0.5, 0, 0, 0], [0.5001, 0, 0, 0]])
    assert trained.compare(embeddings[[0, 0]], embeddings[[1, 2]]).same.tolist() == [True, False]


def test_images_and_files_are_embedded_alike(tmp_path: Path) -> None:
    trained = Trained.load(save(make("triplet"), tmp_path / "model.ckpt"), "cpu", batch_size=2)
    paths = write_pictures(tmp_path, ["a.png", "b.png", "c.png"])
    images = torch.stack([torch.from_numpy(np.asarray(Image.open(path)).copy())[None] for path in paths])
    before = images.clone()
    torch.testing.assert_close(trained.embed(images), trained.embed(paths))
    assert torch.equal(images, before)


def test_no_more_than_two_batches_of_pictures_are_in_memory_at_once() -> None:
    lock, read, given = threading.Lock(), 0, 0

    def count(path: Path) -> torch.Tensor:
        nonlocal read
        with lock:
            read += 1
        if path.name == "5":
            raise ValueError("5 is broken")
        return torch.full(SHAPE, int(path.name), dtype=torch.uint8)

    seen: list[int] = []
    for batch in read_batches([Path(f"/none/{i}") for i in range(23)], count, SHAPE, 4):
        given += len(batch.positions) + len(batch.broken)
        assert read - given <= 4  # the next batch, read meanwhile
        assert batch.images[:, 0, 0, 0].tolist() == batch.positions
        assert batch.broken == ({5: "5 is broken"} if 5 in range(given - 4, given) else {})
        seen += batch.positions
    assert seen == [i for i in range(23) if i != 5]


def test_the_digest_tells_weights_and_preparation_but_not_the_threshold(tmp_path: Path) -> None:
    model = make("siamese")
    digest = Trained.load(save(model, tmp_path / "a.ckpt"), "cpu").digest
    assert Trained.load(save(model, tmp_path / "b.ckpt", threshold=0.7), "cpu").digest == digest
    assert Trained.load(save(make("triplet"), tmp_path / "c.ckpt"), "cpu").digest != digest
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    checkpoint["preparation"]["mean"] = [0.41]
    torch.save(checkpoint, tmp_path / "d.ckpt")
    assert Trained.load(tmp_path / "d.ckpt", "cpu").digest != digest
    with torch.no_grad():
        next(model.parameters())[0] += 1e-3
    assert Trained.load(save(model, tmp_path / "e.ckpt"), "cpu").digest != digest


def test_a_model_that_has_diverged_says_so(tmp_path: Path) -> None:
    model = make("siamese")
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    trained = Trained.load(save(model, tmp_path / "model.ckpt"), "cpu")
    with pytest.raises(ValueError, match=r"model\.ckpt gives numbers that are not finite: its training has diverged"):
        trained.embed(torch.zeros(1, *SHAPE, dtype=torch.uint8))


def test_classes_of_ones_own_are_imported_only_where_they_are_trusted(script: Script, tmp_path: Path) -> None:
    (tmp_path / "my_apply_module.py").write_text(
        "from pathlib import Path\nfrom lab.nets import MLP\nPath('was_imported').touch()\nclass MyNet(MLP):\n    pass\n"
    )
    model = make("triplet")
    assert isinstance(model, Triplet)
    model.hparams["encoder"]["class_path"] = "my_apply_module.MyNet"
    save(model, tmp_path / "model.ckpt")
    write_pictures(tmp_path, ["a.png", "b.png"])
    refused = script("verify.py", "model.ckpt", "a.png", "b.png")
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: model.ckpt names my_apply_module.MyNet, which is not a known class; if you trust the file, import it first: "
        "--trust my_apply_module\n"
    )
    assert not (tmp_path / "was_imported").exists()
    trusted = script("verify.py", "model.ckpt", "a.png", "b.png", "--trust", "my_apply_module", "--json")
    assert trusted.returncode == 0, trusted.stderr
    assert json.loads(trusted.stdout)["pairs"][0]["first"] == "a.png"
    assert "no_such_module: it cannot be imported" in script("verify.py", "x", "--trust", "no_such_module").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["none.ckpt", "a.png", "b.png"],
            "there is no checkpoint none.ckpt; there is classifier.ckpt, foreign.ckpt, model.ckpt",
        ),
        (["a.png", "a.png", "b.png"], "a.png is not a whole checkpoint of weights and settings alone"),
        (["foreign.ckpt", "a.png", "b.png"], "foreign.ckpt is a checkpoint, but not of a family of this project"),
        (["unprepared.ckpt", "a.png", "b.png"], "unprepared.ckpt does not say how its pictures were prepared"),
        (
            ["classifier.ckpt", "a.png", "b.png"],
            "classifier.ckpt is a Classifier, which tells classes and compares no pictures",
        ),
        (["unvalidated.ckpt", "a.png", "b.png"], "unvalidated.ckpt was never validated, so it has no threshold"),
        (["model.ckpt", "a.png", "gone.png"], "gone.png cannot be read: No such file or directory"),
        (["model.ckpt", "a.png", "broken.png"], "broken.png cannot be read: it is no JPEG"),
        (["model.ckpt", "a.png", "."], ". cannot be read: it is a folder"),
        (["model.ckpt", "a.png", "b.png", "--batch_size", "0"], "--batch_size: must be a whole number above 0, not '0'"),
        (["model.ckpt", "a.png", "b.png", "--devise", "cpu"], "unrecognized arguments: --devise"),
        (["model.ckpt", "a.png", "b.png", "--device", "cuda"], "--device cuda: there is no GPU here"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], says: str, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write_pictures(tmp_path, ["a.png", "b.png"])
    (tmp_path / "broken.png").write_text("no picture")
    save(make("siamese"), tmp_path / "model.ckpt")
    save(make("siamese"), tmp_path / "unvalidated.ckpt", threshold=None)
    save(make("classifier"), tmp_path / "classifier.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    del checkpoint["preparation"]
    torch.save(checkpoint, tmp_path / "unprepared.ckpt")
    done = script("verify.py", *arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_debug_shows_where_an_error_is_from(script: Script) -> None:
    with pytest.raises(ValueError, match=r"there is no checkpoint none\.ckpt"):
        script("verify.py", "none.ckpt", "a.png", "b.png", "--debug")


def test_an_interrupted_command_ends_quietly(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    write_pictures(tmp_path, ["a.png", "b.png"])
    save(make("siamese"), tmp_path / "model.ckpt")
    monkeypatch.setattr(Trained, "outputs", interrupt)
    for arguments in (["verify.py", "model.ckpt", "a.png", "b.png"], ["embed.py", "model.ckpt", "."]):
        done = script(*arguments)
        assert (done.returncode, done.stdout) == (130, "")
        assert "error" not in done.stderr
    assert not list(tmp_path.glob("*index*"))


@pytest.mark.parametrize("name", ["verify", "embed", "search", "predict", "export"])
def test_help_shows_an_example(name: str, script: Script) -> None:
    done = script(f"{name}.py", "--help")
    assert done.returncode == 0
    assert "examples:\n  python scripts/" in done.stdout
    assert f"python scripts/{name}.py RUN/checkpoints/best.ckpt" in done.stdout
