import csv
import io
import itertools
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import yaml
from conftest import Script
from PIL import Image

from lab.report.compare import differing_settings, groups_of, labels_of, t_interval
from lab.report.page import page_of
from lab.report.pictures import BUDGET, embed
from lab.report.run import read_run
from lab.report.words import meaning


def made_run(folder: Path, seed: int = 0, scores: dict[str, float] | None = None, **changes: Any) -> Path:
    """Write the folder of a run by hand, much as a run would leave it."""
    folder.mkdir(parents=True)
    encoder = {"class_path": "lab.nets.ConvNet", "init_args": {"width": changes.pop("width", 32)}}
    config = {
        "seed_everything": seed,
        "model": {
            "class_path": "lab.models.Triplet",
            "init_args": {"encoder": encoder, "evaluation": changes.pop("asked", None)},
        },
        "data": {"class_path": changes.pop("data", "lab.data.MNIST"), "init_args": {"batch_size": 80}},
        "name": folder.parent.name,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    scores = scores or {"test/auc": 0.91234, "test/eer": 0.08765}
    intervals = {name: [score - 0.01, score + 0.01] for name, score in scores.items()}
    record = {**scores, "intervals": intervals, "epochs": 2, "best_epoch": 2, "best_score": {"val/auc": 0.93}, "seed": seed,
              "seconds": {"fit": 12.5, "test": 3.0}, "versions": {"torch": "2.14.1"}, "commit": "c0ffee"}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps({**record, **changes}))
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["epoch", "step", "train/loss", "train/loss_step", "val/auc", "test/auc"])
        rows.writeheader()
        rows.writerow({"step": 3, "train/loss_step": 9.0})
        for epoch in range(2):
            rows.writerow({"epoch": epoch, "step": 10, "train/loss": 1.5 - epoch, "val/auc": 0.8 + 0.1 * epoch})
    (folder / "pictures").mkdir()
    for name in ("worst_queries", "my_own", "distances"):
        Image.new("RGB", (60, 40), "teal").save(folder / "pictures" / f"{name}.png")
    return folder


class Outline(HTMLParser):
    """What a page is made of: its tags with their attributes, and its headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _page(*folders: Path) -> str:
    return page_of([read_run(folder) for folder in folders])


def test_a_page_shows_the_scores_of_a_run_with_intervals_meanings_and_commands(tmp_path: Path) -> None:
    page = _page(made_run(tmp_path / "triplet" / "version_0"))
    for expected in ("Triplet on MNIST", "0.9123", "0.9023 to 0.9223", "area under the ROC curve", "lower is better",
                     "git checkout c0ffee", "scripts/fit.py --config", "seed_everything: 0",
                     "2, chosen at epoch 2"):  # fmt: skip
        assert expected in page


def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    outline = Outline(_page(made_run(tmp_path / "a" / "version_0"), made_run(tmp_path / "a" / "version_1", width=64)))
    assert {name for name, _ in outline.tags}.isdisjoint({"script", "link", "iframe", "object", "embed"})
    assert all(str(image["src"]).startswith("data:image/") for image in outline.all("img"))
    assert all(str(link["href"]).startswith("#") for link in outline.all("a"))


def test_headings_go_down_by_one_level_and_pictures_are_described(tmp_path: Path) -> None:
    run, other = made_run(tmp_path / "a" / "version_0"), made_run(tmp_path / "a" / "version_1", width=64)
    for page in (_page(run), _page(run, other)):
        outline = Outline(page)
        levels = [int(name[1]) for name, _ in outline.tags if name in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later - level <= 1 for level, later in itertools.pairwise(levels))
        assert all(len(str(image["alt"])) > 20 for image in outline.all("img"))
        assert outline.all("html")[0]["lang"] == "en"
        ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert {str(link["href"])[1:] for link in outline.all("a")} <= set(ids)


def test_pictures_stand_in_a_sensible_order_with_ones_own_last(tmp_path: Path) -> None:
    page = _page(made_run(tmp_path / "a" / "version_0"))
    places = [page.index(f"<strong>{title}.") for title in ("Learning curves", "Distances", "Worst searches", "My own")]
    assert places == sorted(places)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"])
def test_text_of_files_is_shown_and_not_obeyed(tmp_path: Path, hostile: str) -> None:
    folder = made_run(tmp_path / hostile.replace("/", "%") / "version_0", commit=hostile, versions={hostile: hostile})
    record = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**record, f"test/{hostile}": 0.5}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": hostile, "model": {"class_path": f"x.{hostile}"}}))
    Image.new("RGB", (9, 9)).save(folder / "pictures" / f"{hostile.replace('/', '%')}.png")
    page = _page(folder, made_run(tmp_path / "b" / "version_0"))  # which has the sections of each run too
    outline = Outline(page)
    assert outline.all("script") == []
    assert all("onerror" not in attributes for _, attributes in outline.tags)
    assert "49" not in [part.strip() for part in page.split("\n")]


def test_an_interrupted_run_is_said_to_be_one_with_the_command_that_goes_on(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a" / "version_0")
    (folder / "metrics.json").unlink()
    shutil.rmtree(folder / "pictures")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    page = _page(folder)
    assert "interrupted after epoch 2" in page
    assert "There are no test scores" in page
    assert "Go on where it was interrupted" in page
    assert "Learning curves of a/version_0" in page  # drawn from metrics.csv
    (folder / "metrics.csv").unlink()
    assert "before its first epoch was over" in _page(folder)
    assert "not finished" in _page(folder, made_run(tmp_path / "b" / "version_0"))


def test_a_test_only_run_is_said_to_be_one(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a_test" / "version_0", seconds={"test": 3.0})
    (folder / "metrics.csv").unlink()
    page = _page(folder)
    assert "A test only" in page
    assert "Repeat this run" not in page


@pytest.mark.parametrize(("name", "content"), [("metrics.json", "{"), ("metrics.json", "[1]"), ("config.yaml", "a: [")])
def test_a_broken_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str, content: str) -> None:
    folder = made_run(tmp_path / "a" / "version_0")
    (folder / name).write_text(content)
    page = _page(folder)
    assert f"{name} cannot be read" in page
    assert "Learning curves" in page


@pytest.mark.parametrize(
    "changes",
    [
        {"intervals": None, "seconds": "x", "versions": [], "best_score": 3, "best_epoch": "x"},
        {"intervals": {"test/auc": [None, "x"]}, "test/auc": None, "epochs": None, "commit": 5, "checkpoint": 7},
    ],
)
def test_a_record_of_another_shape_makes_no_crash(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = made_run(tmp_path / "a" / "version_0")
    record = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**record, **changes}))
    assert "0.0877" in _page(folder)
    _page(folder, made_run(tmp_path / "b" / "version_0"))


def test_a_picture_that_cannot_be_read_is_said_to_be_left_out(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a" / "version_0")
    (folder / "pictures" / "distances.png").write_text("no picture")
    page = _page(folder)
    assert "The picture distances is left out" in page
    assert "The picture my_own is left out" not in page


def test_large_pictures_are_made_smaller_until_the_page_is_below_four_megabytes(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a" / "version_0")
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    for number in range(3):
        Image.fromarray(noise).save(folder / "pictures" / f"noise_{number}.png", compress_level=1)
    assert sum(path.stat().st_size for path in (folder / "pictures").iterdir()) > 8_000_000
    assert len(_page(folder).encode()) < 4_000_000


def test_small_pictures_stay_as_they_are_beside_large_ones() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1100, 1100, 3), dtype=np.uint8))
    files = {}
    for name, picture in (("small", Image.new("L", (8, 8))), ("large", noise)):
        file = io.BytesIO()
        picture.save(file, "PNG")
        files[name] = file.getvalue()
    embedded = embed(dict(files))
    assert not isinstance(embedded["small"], str)
    assert not isinstance(embedded["large"], str)
    assert embedded["small"].uri.startswith("data:image/png")
    assert embedded["large"].uri.startswith("data:image/webp")
    assert len(embedded["large"].uri) * 3 / 4 < BUDGET


def test_only_settings_that_differ_are_compared(tmp_path: Path) -> None:
    runs = [read_run(made_run(tmp_path / "a" / f"version_{k}", width=width)) for k, width in enumerate((32, 64))]
    assert differing_settings(labels_of(runs)) == {"model.encoder.width": ["32", "64"]}


def test_runs_that_differ_in_their_seed_alone_are_one_group_with_a_t_interval(tmp_path: Path) -> None:
    values = [0.90, 0.92, 0.97]
    folders = [made_run(tmp_path / "a" / f"version_{k}", seed=k, scores={"test/auc": v}) for k, v in enumerate(values)]
    folders.append(made_run(tmp_path / "a" / "version_3", seed=2, scores={"test/auc": 0.97}))  # a repetition tells nothing new
    folders.append(made_run(tmp_path / "b" / "version_0", width=8, scores={"test/auc": 0.99}))
    first, second = groups_of(labels_of([read_run(folder) for folder in folders]))
    assert (len(first.runs), first.left_out, list(second.runs)) == (3, ["a/version_3"], ["b/version_0"])
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert first.score("test/auc") == pytest.approx((np.mean(values), low, high), abs=1e-4)
    assert second.score("test/auc") == pytest.approx((0.99, 0.98, 1.0))
    page = _page(*folders)
    assert "n = 3 seeds" in page
    assert "Not counted" in page
    assert page.index("★", page.index("</thead>", page.index('id="scores"'))) < page.index("0.9900")


@pytest.mark.parametrize("number", [2, 3, 31, 32, 60])
def test_the_t_interval_is_that_of_scipy(number: int) -> None:
    values = np.random.default_rng(number).normal(size=number).tolist()
    expected = scipy.stats.t.interval(0.95, number - 1, np.mean(values), scipy.stats.sem(values))
    assert t_interval(values)[1:] == pytest.approx(expected, rel=1e-3)


def test_no_run_is_the_best_where_they_were_tested_on_different_images(tmp_path: Path) -> None:
    same = made_run(tmp_path / "a" / "version_0"), made_run(tmp_path / "b" / "version_0", width=8, scores={"test/auc": 0.99})
    other = made_run(tmp_path / "c" / "version_0", data="lab.data.CIFAR10")
    assert 'class="star"' in _page(*same)
    page = _page(*same, other)
    assert 'class="star"' not in page
    assert "tested on different images" in page


@pytest.mark.slow
def test_no_run_is_the_best_where_the_same_images_were_asked_differently(tmp_path: Path) -> None:
    scores = {"test/one_shot_accuracy": 0.9}
    easy = made_run(tmp_path / "a" / "version_0", scores={"test/one_shot_accuracy": 0.95}, asked={"num_ways": 5})
    hard = [
        made_run(tmp_path / name / "version_0", scores=scores, asked={"num_ways": 20}, width=k) for k, name in enumerate("bc")
    ]
    assert 'class="star"' not in _page(easy, hard[0])
    assert "or asked differently" in _page(easy, *hard)


def test_the_best_of_an_error_rate_is_its_lowest(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name / "version_0", width=k, scores={"test/eer": eer})
            for k, (name, eer) in enumerate({"a": 0.2, "b": 0.1, "c": 0.3}.items())]  # fmt: skip
    page = _page(*runs)
    best = page[page.index('class="star"') :]
    assert best.index("0.1000") < 120


def test_runs_of_equal_names_are_told_apart_by_the_folder_above(tmp_path: Path) -> None:
    folders = [made_run(tmp_path / place / "a" / "version_0") for place in ("here", "there")]
    assert list(labels_of([read_run(folder) for folder in folders])) == ["here/a/version_0", "there/a/version_0"]


def test_every_score_that_a_run_can_have_is_explained() -> None:
    names = ["accuracy", "balanced_accuracy", "nearest_neighbor_accuracy", "recall@1", "recall@10", "map@r", "r_precision",
             "auc", "eer", "pair_accuracy", "pair_f1", "fmr", "fnmr", "fnmr@fmr0.0001", "one_shot_accuracy", "loss",
             "one_shot_within_alphabet", "one_shot_trials"]  # fmt: skip
    assert all(meaning(f"test/{name}").words for name in names)
    assert meaning("test/my_own") == ("", "")


def test_a_folder_that_is_no_run_is_refused_with_the_runs_near_it(tmp_path: Path, script: Script) -> None:
    made_run(tmp_path / "logs" / "triplet" / "version_0")
    for given, said in (
        ("logs/triplet", "has no config.yaml"),
        ("logs/triplet/version_9", "does not exist"),
        ("logs", "has no"),
    ):
        done = script("report.py", given)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"error: {given} is no run: it {said}")
        assert "logs/triplet/version_0" in done.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: RUN"),
        (["run", "--outptu", "a.html"], "unrecognized arguments: --outptu"),
        (["run", "-o", "notes.txt"], "must end in .html"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_in_one_line(script: Script, arguments: list[str], said: str) -> None:
    done = script("report.py", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_a_run_named_twice_is_one_run(tmp_path: Path, script: Script) -> None:
    made_run(tmp_path / "a" / "version_0")
    done = script("report.py", "a/version_0", "a/version_0/", "-o", "one.html")
    assert done.returncode == 0, done.stderr
    assert "<h1>Triplet on MNIST</h1>" in (tmp_path / "one.html").read_text()


def test_a_score_that_is_not_defined_is_said_to_be_so(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a" / "version_0", scores={"test/auc": math.nan})
    assert math.isnan(read_run(folder).scores["test/auc"])
    assert "not defined" in _page(folder)
