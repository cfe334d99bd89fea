import json
from pathlib import Path

import pytest
import torch
from apply_models import distance, make, outputs, probability, save, write_pictures
from conftest import Script
from lightning.pytorch import Trainer

from lab.data import Synthetic
from lab.metrics import EmbeddingMetrics
from lab.models import Siamese
from lab.nets import MLP


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(make("siamese"), tmp_path / "model.ckpt", threshold=1.0)
    write_pictures(tmp_path, [f"pictures/{i}.png" for i in range(6)])
    return tmp_path


def _values(folder: Path) -> dict[tuple[int, int], float]:
    rows = outputs(folder / "model.ckpt", [folder / f"pictures/{i}.png" for i in range(6)])
    return {(i, j): distance("siamese", folder / "model.ckpt", rows[i], rows[j]) for i in range(6) for j in range(6)}


def test_pictures_are_compared_two_and_two(script: Script, folder: Path) -> None:
    done = script("verify.py", "--json", "model.ckpt", *(f"pictures/{i}.png" for i in (0, 1, 2, 2)))
    assert done.returncode == 0, done.stderr
    record, values = json.loads(done.stdout), _values(folder)
    assert record["threshold"] == 1.0
    for pair, (i, j) in zip(record["pairs"], [(0, 1), (2, 2)], strict=True):
        assert (pair["first"], pair["second"]) == (f"pictures/{i}.png", f"pictures/{j}.png")
        assert pair["distance"] == pytest.approx(values[i, j], abs=1e-5)
        assert pair["same"] == (values[i, j] <= 1.0)
        assert pair["probability"] == pytest.approx(probability(values[i, j]), abs=1e-5)
        assert "truth" not in pair
    assert "accuracy" not in record


def test_a_table_of_pairs_gives_the_error_rates_counted_by_hand(script: Script, folder: Path) -> None:
    values = _values(folder)
    pairs = [(i, j, (i + j) % 2) for i in range(6) for j in range(i)]
    lines = [f"{i}.png,{j}.png,{same}" for i, j, same in pairs]
    (folder / "pictures" / "pairs.csv").write_text("\n".join(["first,second,same", *lines]), encoding="utf-8-sig")
    done = script("verify.py", "model.ckpt", "--pairs", "pictures/pairs.csv", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    called = [values[i, j] <= 1.0 for i, j, _ in pairs]
    assert 0 < sum(called) < len(called)
    false_matches = sum(c and not same for c, (_, _, same) in zip(called, pairs, strict=True))
    missed = sum(bool(same) and not c for c, (_, _, same) in zip(called, pairs, strict=True))
    num_same = sum(same for _, _, same in pairs)
    assert record["counts"] == {
        "right": 15 - false_matches - missed,
        "pairs": 15,
        "false_matches": false_matches,
        "different": 15 - num_same,
        "false_non_matches": missed,
        "same": num_same,
    }
    assert record["accuracy"] == pytest.approx(1 - (false_matches + missed) / 15)
    assert record["false_match_rate"] == pytest.approx(false_matches / (15 - num_same))
    assert record["false_non_match_rate"] == pytest.approx(missed / num_same)

    shown = script("verify.py", "model.ckpt", "--pairs", "pictures/pairs.csv").stdout
    assert f"right: {15 - false_matches - missed} of 15" in shown
    assert f"false matches: {false_matches} of {15 - num_same} different pairs" in shown
    assert f"false non-matches: {missed} of {num_same} same pairs" in shown
    assert shown.count(" NO ") == false_matches + missed


def test_the_first_picture_of_two_views_is_the_first_view(script: Script, folder: Path) -> None:
    checkpoint = save(make("two_views"), folder / "two.ckpt")
    rows = outputs(checkpoint, [folder / f"pictures/{i}.png" for i in (0, 1)])
    done = script("verify.py", "two.ckpt", "pictures/0.png", "pictures/1.png", "pictures/1.png", "pictures/0.png", "--json")
    there, back = (pair["distance"] for pair in json.loads(done.stdout)["pairs"])
    assert there == pytest.approx(distance("two_views", checkpoint, rows[0], rows[1]), abs=1e-5)
    assert back == pytest.approx(distance("two_views", checkpoint, rows[1], rows[0]), abs=1e-5)
    assert abs(there - back) > 1e-3


def test_a_table_may_be_as_a_spreadsheet_writes_it(script: Script, folder: Path) -> None:
    (folder / "pictures" / "pairs.csv").write_text("first,second,same\n0.png,1.png,1\n")
    expected = json.loads(script("verify.py", "--json", "model.ckpt", "--pairs", "pictures/pairs.csv").stdout)
    for text in ("First; Second ;SAME\n0.png;1.png;1\n", "\ufefffirst\tsecond\tsame\r\n0.png\t1.png\t1\r\n"):
        (folder / "pictures" / "pairs.csv").write_text(text, newline="")
        done = script("verify.py", "--json", "model.ckpt", "--pairs", "pictures/pairs.csv")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n", "pairs.csv has no column first: its first line must be first,second or first,second,same, and is a,b"),
        ("", "pairs.csv has no column first: its first line must be first,second or first,second,same, and is empty"),
        ("first,second\n", "pairs.csv has no pairs in it"),
        ("first,second\n0.png\n", "pairs.csv:2 does not name two pictures"),
        ("first,second,same\n0.png,1.png,yes\n", "pairs.csv:2: same must be 1, for pictures of one class, or 0, not 'yes'"),
        ("first,second\n0.png,9.png\n", "9.png cannot be read: No such file or directory"),
        ("first;second\n0.png;1.png\n0.png;9.png\n", "pairs.csv:3: "),
        ("first,second\n\xff", "pairs.csv is not a CSV file in UTF-8"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_its_line(text: str, says: str, script: Script, folder: Path) -> None:
    (folder / "pictures" / "pairs.csv").write_text(text, encoding="latin-1")
    done = script("verify.py", "model.ckpt", "--pairs", "pictures/pairs.csv")
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name either pictures, two and two, or --pairs pairs.csv"),
        (["pictures/0.png"], "pictures are compared in pairs, and there is 1"),
        (["--pairs", "none.csv"], "none.csv: No such file or directory"),
    ],
)
def test_pictures_that_make_no_pairs_are_refused(arguments: list[str], says: str, script: Script, folder: Path) -> None:
    done = script("verify.py", "model.ckpt", *arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {says}\n")


def test_names_that_a_terminal_would_obey_or_rich_would_read_are_shown_as_they_are(script: Script, folder: Path) -> None:
    write_pictures(folder, ["[red]a.png", "\x1b[2Jb.png"])
    done = script("verify.py", "model.ckpt", "[red]a.png", "\x1b[2Jb.png")
    assert done.returncode == 0, done.stderr
    assert "\x1b[2J" not in done.stdout
    assert "[red]a.png" in done.stdout


def test_a_model_that_was_just_trained_is_used_with_the_threshold_it_learned(script: Script, tmp_path: Path) -> None:
    data = Synthetic(
        num_classes_made=4, num_train_images=400, noise=0.02, samples_per_class=10, batch_size=40, stored_shape=(1, 8, 8)
    )
    torch.manual_seed(0)
    model = Siamese(MLP((1, 8, 8), (32,), 8))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", **quiet)  # type: ignore[arg-type]
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "trained.ckpt")
    assert isinstance(model.metrics, EmbeddingMetrics)
    assert model.metrics.threshold.isfinite()
    write_pictures(tmp_path, ["a.png"])
    done = script("verify.py", "trained.ckpt", "a.png", "a.png", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert record["threshold"] == pytest.approx(model.metrics.threshold.item())
    assert record["pairs"][0]["same"]
