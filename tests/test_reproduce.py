import dataclasses
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, Script

from lab.reproduce import catalog as catalog_module
from lab.reproduce import experiment as experiment_module
from lab.reproduce.catalog import Catalog, read_catalog
from lab.reproduce.command import _run_all
from lab.reproduce.experiment import Bar, Experiment, Question
from lab.reproduce.markdown import markdown
from lab.reproduce.measured import Measured, read_measured, score_of
from lab.reproduce.page import page_of
from lab.reproduce.questions import answer
from lab.reproduce.results import Result, measure, needed, record_of, verdict
from lab.reproduce.runner import Runner
from lab.reproduce.side_by_side import seeded
from lab.reproduce.table import Table

CONFIGS = sorted((PROJECT / "configs" / "experiments").glob("*.yaml"))
NUM = {"s": 2, "p": 6, "t": 2, "d": 8, "b": 4, "n": 3, "c": 1}
ALL = [f"{letter}{i + 1}" for letter, num in NUM.items() for i in range(num)]


def _run(folder: Path, accuracy: float, curve: list[float] | None = None, **record: Any) -> Path:
    """Write what a finished run leaves."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: x\n")
    (folder / "state.json").write_text('{"state": "finished"}')
    record = {"test/accuracy": accuracy, "seconds": {"fit": 12.4}, "device": "a computer", "commit": "abcdef0123", **record}
    (folder / "metrics.json").write_text(json.dumps(record))
    rows = [f"{epoch},{value}" for epoch, value in enumerate(curve or [])]
    (folder / "metrics.csv").write_text("\n".join(["epoch,val/accuracy", *rows]) + "\n")
    return folder


def _result(
    tmp_path: Path, name: str, accuracies: list[float], bar: Bar | None = None, curve: list[float] | None = None
) -> Result:
    experiment = Experiment(name, f"about {name}", "s1", "test/accuracy", bar=bar, also=["val/accuracy", "test/auc"])
    runs = {seed: _run(tmp_path / name / str(seed), accuracy, curve) for seed, accuracy in enumerate(accuracies)}
    return measure(experiment, runs, {}, fast=False, asked=["val/accuracy>=0.8"])


def test_every_experiment_that_is_named_has_a_row_and_every_config_is_run_by_one() -> None:
    catalog = read_catalog()
    experiments = catalog.experiments
    assert {name.split("_")[0] for name in experiments} | set(catalog.elsewhere) == set(ALL)
    assert {experiment.config_file for experiment in experiments.values()} == set(CONFIGS)


def test_what_an_experiment_needs_stands_before_it() -> None:
    experiments = read_catalog().experiments
    names = list(experiments)
    for place, experiment in enumerate(experiments.values()):
        assert set(experiment.needs) <= set(names[:place]), experiment.name
        assert set(experiment.bar.others if experiment.bar else []) <= set(names), experiment.name


def test_a_group_is_chosen_with_all_that_it_needs_in_the_order_to_run_them() -> None:
    catalog = read_catalog()
    names = [experiment.name for experiment in catalog.choose(["b4_top_two", "s1"])]
    assert names == ["s1", "b3_batch_norm", "b4", "b4_top_two"]
    assert {experiment.name for experiment in catalog.choose(["b4*"])} >= {"b3", "b3_batch_norm", "b4", "b4_all", "b4_scratch"}
    assert [experiment.name for experiment in catalog.choose(["b4"])] == ["b3_batch_norm", "b4"]
    assert [experiment.name for experiment in catalog.choose(["d7"])] == ["d7_10", "d7_30", "d7_50"]
    assert {experiment.name for experiment in catalog.choose(["d8"])} == {"d6_0", "d6_30", "d8_judge", "d8"}  # for its bar, too
    assert [experiment.name for experiment in catalog.choose(["d6_30"])] == ["d6_30"]
    assert len(catalog.choose([])) == len(catalog.experiments)
    with pytest.raises(ValueError, match="there is no experiment 's3'; did you mean 's"):
        catalog.choose(["s3"])
    with pytest.raises(ValueError, match=r"n1: .*tests/test_two_layer_net.py"):
        catalog.choose(["n1"])


def test_a_score_is_of_the_test_or_the_last_of_a_curve_or_of_a_file_in_per_cent(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", 0.5, [0.1, 0.9, 0.8])
    (folder / "more.json").write_text('{"precision": 0.25, "inside": {"recall": 0.75}}')
    (run,) = measure(Experiment("a", "", "s1", "test/accuracy"), {0: folder}, {}, fast=False).runs.values()
    assert score_of(run, "test/accuracy") == pytest.approx(50)
    assert score_of(run, "val/accuracy") == pytest.approx(80)
    assert score_of(run, "more.json:precision") == pytest.approx(25)
    assert score_of(run, "more.json:inside.recall") == pytest.approx(75)
    assert math.isnan(score_of(run, "more.json:recall"))
    assert math.isnan(score_of(run, "more.json:precision.recall"))
    assert math.isnan(score_of(run, "test/auc"))


def test_a_seed_without_the_score_is_a_failure_and_not_part_of_the_mean(tmp_path: Path) -> None:
    runs = {0: _run(tmp_path / "0", 0.5), 1: _run(tmp_path / "1", math.nan)}
    result = measure(Experiment("a", "", "s1", "test/accuracy"), runs, {2: "it broke"}, fast=False)
    assert result.values == {0: 50.0}
    assert result.failures == {2: "it broke", 1: "there is no test/accuracy"}


@pytest.mark.parametrize(
    ("bar", "least", "reached"),
    [
        (Bar(least=91.0), 91.0, "reached"),
        (Bar(least=91.1), 91.1, "missed"),
        (Bar(ahead_of="high"), 95.0, "missed"),
        (Bar(ahead_of="same"), 91.0, "missed"),  # a tie is not ahead
        (Bar(within=5.0, of="high"), 90.0, "reached"),
        (Bar(within=3.0, of="high"), 92.0, "missed"),
        (Bar(halfway=["low", "high"]), 85.0, "reached"),
        (Bar(ahead_of="unknown"), math.nan, ""),
    ],
)
def test_a_bar_is_a_number_or_set_by_other_experiments(tmp_path: Path, bar: Bar, least: float, reached: str) -> None:
    results = {name: _result(tmp_path, name, [value] * 3) for name, value in (("low", 0.75), ("high", 0.95), ("same", 0.91))}
    result = _result(tmp_path, "own", [0.90, 0.91, 0.92], bar)
    assert needed(bar, results, [0, 1, 2])[0] == pytest.approx(least, nan_ok=True)
    assert verdict(result, results) == reached


def test_a_bar_set_by_another_experiment_is_judged_over_the_seeds_of_both(tmp_path: Path) -> None:
    results = {"low": _result(tmp_path, "low", [0.5, 0.3, 0.3]), "high": _result(tmp_path, "high", [0.6, 0.4, 0.4])}
    result = _result(tmp_path, "own", [0.5], Bar(halfway=["low", "high"]))
    assert verdict(result, results) == "missed with seed 0 alone"  # though 50 is more than 41.7


@pytest.mark.parametrize(
    ("bar", "reached"),
    [(Bar(ahead_of="same"), "missed"), (Bar(within=0.0, of="same"), "reached"), (Bar(halfway=["same", "same"]), "reached")],
)
def test_equal_scores_are_a_tie_though_means_are_rounded(tmp_path: Path, bar: Bar, reached: str) -> None:
    accuracies = [0.912, 0.913, 0.913]
    assert verdict(_result(tmp_path, "own", accuracies, bar), {"same": _result(tmp_path, "same", accuracies)}) == reached


def test_a_second_score_of_a_bar_must_be_reached_too(tmp_path: Path) -> None:
    for least, said in ((75.0, "reached"), (76.0, "missed")):
        bar = Bar(least=90.0, and_score="val/accuracy", and_least=least)
        result = _result(tmp_path / said, "own", [0.90, 0.91, 0.92], bar, curve=[0.5, 0.75])
        assert verdict(result, {}) == said
    bar = Bar(least=90.0, and_score="val/accuracy", and_least=75.0)
    assert verdict(_result(tmp_path / "unknown", "own", [0.90, 0.91, 0.92], bar), {}) == ""


def test_the_interval_is_that_of_student_over_seeds(tmp_path: Path) -> None:
    mean, low, high = _result(tmp_path, "own", [0.90, 0.92, 0.97]).interval
    spread = (((90 - 93) ** 2 + (92 - 93) ** 2 + (97 - 93) ** 2) / 2) ** 0.5
    assert mean == pytest.approx(93)
    assert high - mean == pytest.approx(4.303 * spread / 3**0.5)
    assert mean - low == pytest.approx(high - mean)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([0.95, 0.96, 0.955], [0.90, 0.91, 0.905], "Yes: "),
        ([0.90, 0.91, 0.905], [0.95, 0.96, 0.955], "No, the other way round: "),
        ([0.90, 0.96, 0.93], [0.95, 0.91, 0.92], "It cannot be told from 3 seeds: "),
        ([0.90], [0.99], "It cannot be told from 1 seed: "),
    ],
)
def test_a_question_is_answered_where_the_interval_of_the_difference_leaves_out_zero(
    tmp_path: Path, first: list[float], second: list[float], said: str
) -> None:
    results = {"a": _result(tmp_path, "a", first), "b": _result(tmp_path, "b", second)}
    found = answer(Question("Better?", ("a", "b"), score="test/accuracy"), results)
    assert found is not None
    assert found["answer"].startswith(said)
    assert f"{100 * (sum(first) / len(first) - sum(second) / len(second)):+.2f}" in found["answer"]


def test_fewer_epochs_to_a_score_are_better(tmp_path: Path) -> None:
    question = Question("Faster?", ("a", "b"), score="val/accuracy>=0.8")
    slow, fast = [0.2, 0.5, 0.7, 0.8], [0.5, 0.85, 0.7]
    results = {
        "a": _result(tmp_path, "a", [0.9, 0.9, 0.9], curve=fast),
        "b": _result(tmp_path, "b", [0.9, 0.9, 0.9], curve=slow),
    }
    found = answer(question, results)
    assert found is not None
    assert found["answer"].startswith("Yes: the number of epochs until val/accuracy is 0.8 is a 2.00 and b 4.00")
    never = {**results, "b": _result(tmp_path, "never", [0.9], curve=[0.1])}
    found = answer(question, never)
    assert found is not None
    assert "is not known of both with any seed" in found["answer"]
    assert answer(question, {"a": results["a"]}) is None


def test_the_table_tells_measured_and_reported_figures_bars_notes_and_failures(tmp_path: Path) -> None:
    rows = {
        "a": _result(tmp_path, "a", [0.90, 0.92], Bar(least=91.5), curve=[0.5, 0.75]),
        "b": measure(Experiment("b", "has | a bar", "s1", "test/accuracy", reported="98", notes="It was an artefact."), {},
                     {0: "error <b>"}, fast=False),
    }  # fmt: skip
    record = record_of(rows, [], {"command": "python scripts/reproduce.py a b", "fast": False})
    text = markdown(record)
    measured = "91.00 ± 12.71 (accuracy, 2 seeds); val/accuracy 75.00 ± 0.00"
    assert f"| **a** about a |  | {measured} | 91.5: missed with seed 0 and 1 alone | 12 s |" in text
    assert "| **b** has \\| a bar[^b] | 98 | not measured |" in text
    assert "[^b]: It was an artefact." in text
    assert "- b, seed 0: error <b>" in text
    assert "- a computer, commit abcdef0: a" in text
    page = page_of(record, rows)
    assert "error &lt;b&gt;" in page
    assert "<strong>missed with seed 0 and 1 alone</strong>" in page
    assert re.search(r"src=\"https?://|<script", page) is None
    fast = record_of(rows, [], {"command": "", "fast": True})
    assert "missed" not in markdown(fast)  # nothing is measured by short runs


CATALOG = """
fast:
  lab.data.MNIST: {data.bundled: true, data.num_images_per_class: 20, trainer.max_epochs: 1}
experiments:
- {name: s1, about: first, score: test/accuracy}
- {name: s1_on, about: second, config: s1, score: test/accuracy, options: {weights_from: "{s1}/checkpoints/best.ckpt"}}
- {name: s1_wrong, about: third, config: s1, score: test/accuracy, options: {model.rows: 3}}
- {name: s1_late, about: fourth, config: s1, score: test/accuracy, options: {weights_from: "{s1_wrong}/checkpoints/best.ckpt"}}
questions:
- {ask: "Better?", compare: [s1_on, s1], curve: val/accuracy, score: test/accuracy}
"""
QUICK = ["--callbacks.pictures", "false", "--callbacks.board", "false"]


@pytest.fixture
def small_catalog(tmp_path: Path) -> Catalog:
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    return read_catalog(tmp_path / "catalog.yaml")


# What fit.py leaves, without training: it fails with three rows, and is interrupted the first time with seed 7.
STUB = """
import json, pathlib, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "--resume" in words:
    run = pathlib.Path(words["--resume"])
else:
    above = pathlib.Path(words["--trainer.default_root_dir"], words["--name"])
    run = above / f"version_{len(list(above.glob('version_*')))}"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "config.yaml").write_text(json.dumps(words))
    if words.get("--model.rows") == "3":
        sys.exit("error: model.rows 3 must divide the image")
    if words["--seed_everything"] == "7":
        (run / "state.json").write_text('{"state": "interrupted"}')
        sys.exit(143)
(run / "metrics.json").write_text('{"test/accuracy": 0.5}')
(run / "state.json").write_text('{"state": "finished"}')
"""


def _runner(tmp_path: Path, catalog: Catalog, fast: bool = True) -> Runner:
    (tmp_path / "scripts").mkdir(exist_ok=True)
    (tmp_path / "scripts" / "fit.py").write_text(STUB)
    return Runner(catalog, tmp_path / "out", tmp_path, fast, QUICK, scripts=tmp_path / "scripts")


def test_experiments_run_once_in_order_and_a_failure_stops_only_what_needs_it(tmp_path: Path, small_catalog: Catalog) -> None:
    runner = _runner(tmp_path, small_catalog)
    outcomes = {name: runner.run(experiment, 0) for name, experiment in small_catalog.experiments.items()}
    assert outcomes["s1"].run == tmp_path / "out" / "runs" / "s1_seed_0" / "version_0"
    assert outcomes["s1_on"].run is not None
    words = json.loads((outcomes["s1_on"].run / "config.yaml").read_text())
    assert words["--weights_from"] == f"{outcomes['s1'].run}/checkpoints/best.ckpt"
    assert words["--data.bundled"] == "true"
    assert outcomes["s1_wrong"].run is None
    assert "model.rows 3 must divide the image" in outcomes["s1_wrong"].reason
    assert outcomes["s1_late"].reason == "needs s1_wrong, which has not finished"
    again = runner.run(small_catalog.experiments["s1"], 0)
    assert (again.run, again.is_new) == (outcomes["s1"].run, False)
    anew = runner.run(small_catalog.experiments["s1"], 0, again=True)
    assert (anew.run, anew.is_new) == (tmp_path / "out" / "runs" / "s1_seed_0" / "version_1", True)


def test_a_run_counts_only_for_what_was_asked_for_when_it_ran(tmp_path: Path, small_catalog: Catalog) -> None:
    runner = _runner(tmp_path, small_catalog)
    for name in ("s1", "s1_on"):
        assert runner.run(small_catalog.experiments[name], 0).run is not None
        assert runner.finished(name, 0) is not None
    before = "{name: s1, about: first,"
    assert before in CATALOG
    (tmp_path / "changed.yaml").write_text(CATALOG.replace(before, f"{before} options: {{model.merge: mean}},"))
    changed = _runner(tmp_path, read_catalog(tmp_path / "changed.yaml"))
    assert changed.finished("s1", 0) is None
    assert changed.finished("s1_on", 0) is None  # which starts from that
    (runner.folder / "runs" / "s1_seed_0" / "version_0" / "state.json").write_text('{"state": "interrupted"}')
    again = changed.run(changed.catalog.experiments["s1"], 0)  # and does not go on with what was begun otherwise
    assert again.run == runner.folder / "runs" / "s1_seed_0" / "version_1"
    assert changed.run(changed.catalog.experiments["s1"], 0).run == again.run
    assert _runner(tmp_path, small_catalog, fast=False).finished("s1", 0) is None
    assert runner.finished("s1", 1) is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--seed_everything 3", "--options: --seed_everything is set for each run; --seeds N runs the seeds 0 to N - 1"),
        ("--data.root=/data", "--options: --data.root is set for each run; --data-root ROOT says where the data are"),
        ("--x 'y", '--options "--x \'y": No closing quotation'),
    ],
)
def test_options_that_are_set_for_each_run_or_are_no_words_are_refused(script: Script, options: str, complaint: str) -> None:
    done = script("reproduce.py", "s1", "--fast", f"--options={options}")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_takes_no_runs_with_other_options(tmp_path: Path, small_catalog: Catalog) -> None:
    runner = _runner(tmp_path, small_catalog)
    assert runner.run(small_catalog.experiments["s1"], 0).run is not None
    runner.check_options()
    with pytest.raises(ValueError, match=r"holds runs with --options .*: give these a folder of their own by -o"):
        dataclasses.replace(runner, more=[]).check_options()
    with pytest.raises(ValueError, match="holds short runs: add --fast, or give these a folder of their own by -o"):
        dataclasses.replace(runner, fast=False).check_options()


def test_pictures_that_are_not_there_are_said_to_be_made_by_a_script(tmp_path: Path) -> None:
    catalog = read_catalog()
    outcome = _runner(tmp_path, catalog, fast=False).run(catalog.experiments["d1"], 0)
    assert outcome.run is None
    assert outcome.reason == f"there is no {tmp_path / 'caltech35'}, which python scripts/caltech.py {tmp_path} makes"


def test_runs_with_other_options_do_not_count_and_share_no_search(tmp_path: Path, small_catalog: Catalog) -> None:
    runner, experiments = _runner(tmp_path, small_catalog), [small_catalog.experiments[name] for name in ("s1", "s1_on")]
    other = dataclasses.replace(runner, more=["--trainer.max_epochs", "1"])
    for experiment in experiments:
        assert runner.run(experiment, 0).run is not None
        assert other.run(experiment, 1).run is not None
        assert other.shared(experiment) != runner.shared(experiment)
    for one, seed in ((runner, 0), (other, 1)):
        table = Table(one, experiments)
        table.write()
        rows = json.loads((one.folder / "results.json").read_text())["experiments"]
        assert [list(row["values"]) for row in rows] == [[str(seed)]] * 2


def test_steps_before_and_after_are_taken_once_and_their_failure_is_that_of_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "steps.yaml").write_text("""
fast: {lab.data.MNIST: {data.bundled: true}}
experiments:
- name: s1
  about: with steps
  score: test/accuracy
  before: [{command: "step.py {shared}/before"}]
  after: [{makes: "{run}/after", command: "step.py {run}/after"}]
- name: s1_found
  about: with a config that a step makes
  config: "{shared}/found.yaml"
  score: test/accuracy
  before: [{command: "step.py {shared}/found.yaml --config configs/experiments/s1.yaml"}]
- name: s2
  about: needs one that fails
  score: test/accuracy
  after: [{command: "step.py nowhere/at/all"}]
questions: []
""")
    catalog = read_catalog(tmp_path / "steps.yaml")
    runner = _runner(tmp_path, catalog)
    (tmp_path / "scripts" / "step.py").write_text("import sys; open(sys.argv[1], 'a').write('x')")
    first = runner.run(catalog.experiments["s1"], 0).run
    assert runner.run(catalog.experiments["s1"], 0).run == first
    assert first is not None
    assert (first / "after").read_text() == (runner.shared(catalog.experiments["s1"]) / "before").read_text() == "x"
    assert runner.run(catalog.experiments["s1"], 1).run is not None
    assert (runner.shared(catalog.experiments["s1"]) / "before").read_text() == "x"  # for all seeds
    assert runner.run(catalog.experiments["s1"], 1, again=True).run is not None
    assert (runner.shared(catalog.experiments["s1"]) / "before").read_text() == "xx"
    config = runner.shared(catalog.experiments["s1_found"]) / "found.yaml"
    assert runner.run(catalog.experiments["s1_found"], 0).run is not None
    assert runner.run(catalog.experiments["s1_found"], 1).run is not None
    assert config.read_text() == "x"
    config.unlink()
    assert runner.run(catalog.experiments["s1_found"], 2).run is not None
    assert config.read_text() == "x"  # made again, as it was lost
    failed = runner.run(catalog.experiments["s2"], 0)
    assert failed.run is None
    assert "FileNotFoundError" in failed.reason


def test_a_comment_in_a_config_makes_no_other_experiment_of_it_but_a_value_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_catalog: Catalog
) -> None:
    monkeypatch.setattr(experiment_module, "CONFIGS", tmp_path)
    monkeypatch.setattr(experiment_module, "PROJECT", tmp_path)
    monkeypatch.setattr(catalog_module, "DEFAULTS", tmp_path / "default.yaml")
    (tmp_path / "default.yaml").write_text("trainer: {max_epochs: 10, devices: 1}")
    experiment, digests = small_catalog.experiments["s1"], []
    for text in ("trainer: {max_epochs: 1}", "# measured\ntrainer: {max_epochs: 1}", "trainer: {max_epochs: 2}"):
        (tmp_path / "s1.yaml").write_text(text)
        digests.append(small_catalog.digest(experiment))
    assert digests[0] == digests[1] != digests[2]
    (tmp_path / "default.yaml").write_text("trainer: {max_epochs: 10, devices: 2}")
    assert small_catalog.digest(experiment) not in digests


def test_full_runs_are_told_where_the_data_are(tmp_path: Path, small_catalog: Catalog) -> None:
    run = _runner(tmp_path, small_catalog, fast=False).run(small_catalog.experiments["s1"], 0).run
    assert run is not None
    words = json.loads((run / "config.yaml").read_text())
    assert words["--data.root"] == str(tmp_path)
    assert "--data.bundled" not in words


def test_an_interrupted_run_is_gone_on_with_in_its_folder(tmp_path: Path, small_catalog: Catalog) -> None:
    runner, experiment = _runner(tmp_path, small_catalog), small_catalog.experiments["s1"]
    assert runner.run(experiment, 7).reason.startswith("exit code 143: without a word")
    done = runner.run(experiment, 7)
    assert done.run == tmp_path / "out" / "runs" / "s1_seed_7" / "version_0"
    assert f"fit.py --resume {done.run}" in (tmp_path / "out" / "logs" / "s1_seed_7.log").read_text()


def test_the_script_lists_experiments_and_refuses_what_it_does_not_know(script: Script) -> None:
    listed = script("reproduce.py", "--list", "b4*")
    assert listed.returncode == 0, listed.stderr
    assert "b4_top_two" in listed.stdout
    for wrong, complaint in (
        (["s9"], "there is no experiment 's9'"),
        (["--seeds", "0"], "must be a whole number above 0, not '0'"),
        (["--data-root", "nowhere"], "--data-root nowhere is not a folder; --fast needs no data"),
        (["--table", "-o", "nowhere"], "has no runs to write a table of"),
        (["--join", "nowhere.json"], "nowhere.json cannot be read: No such file or directory"),
        (["--join", str(PROJECT / "README.md")], "README.md is not a results.json of reproduce.py"),
        (["--fast", "--join", "results.json"], "leave --fast out"),
    ):
        done = script("reproduce.py", *wrong)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_table_of_what_there_is_has_rows_of_this_alone_unless_others_are_named(script: Script, tmp_path: Path) -> None:
    joined = str(PROJECT / "configs" / "experiments" / "results.json")
    for names, unmeasured in (([], 0), (["s1", "d1_vgg16"], 1)):
        done = script("reproduce.py", "--table", "--join", joined, "-o", "out", *names)
        assert done.returncode == 0, done.stderr
        rows = json.loads((tmp_path / "out" / "results.json").read_text())["experiments"]
        assert sum(not row["seeds"] for row in rows) == unmeasured
        assert len(rows) == len(names) or not names


@pytest.mark.slow
def test_a_short_run_of_an_experiment_by_the_script_leaves_a_table_and_a_page(script: Script, tmp_path: Path) -> None:
    done = script("reproduce.py", "s1", "--fast", "-o", "out", "--options", " ".join([*QUICK, "--trainer.max_epochs", "1"]))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    (row,) = record["experiments"]
    assert 20 < row["mean"] < 95
    assert row["values"] == {"0": row["mean"]}
    assert "Short runs on bundled and generated data" in (tmp_path / "out" / "README.md").read_text()
    assert "both halves of a digit" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.slow
def test_every_experiment_runs_fast_but_for_those_whose_weights_are_downloaded(script: Script, tmp_path: Path) -> None:
    done = script("reproduce.py", "--fast", "-o", "out", "--options", " ".join(QUICK))
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    failures = {row["name"]: row["failures"] for row in record["experiments"] if row["failures"]}
    assert failures == {}
    assert done.returncode == 0
    assert catalog_module.CATALOG.is_file()


def test_of_two_workers_each_has_half_of_the_threads(
    tmp_path: Path, small_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("lab.workers._num_processors", lambda: 6)
    runner = dataclasses.replace(_runner(tmp_path, small_catalog), num_workers=2)
    (tmp_path / "scripts" / "fit.py").write_text(f"import os; print('threads', os.environ['OMP_NUM_THREADS'])\n{STUB}")
    table = Table(runner, list(small_catalog.experiments.values()))
    _run_all(table, seeded(table.chosen, range(2)), again=False)
    assert set(table.failures) == {(name, seed) for name in ("s1_wrong", "s1_late") for seed in range(2)}
    for name in ("s1", "s1_on"):
        for seed in range(2):
            assert runner.finished(name, seed) is not None
            assert "threads 3" in (runner.folder / "logs" / f"{name}_seed_{seed}.log").read_text()


def _ran(tmp_path: Path, catalog: Catalog, seeds: range, joined: list[Path]) -> Table:
    """Run s1 and s1_on on a machine of their own, and write its table."""
    tmp_path.mkdir()
    runner = _runner(tmp_path, catalog, fast=False)
    elsewhere = {name: found for path in joined for name, found in read_measured(path, catalog, QUICK)[0].items()}
    runner.folder.mkdir()
    table = Table(runner, [catalog.experiments[name] for name in ("s1", "s1_on")], elsewhere)
    _run_all(table, seeded(table.chosen, seeds, elsewhere), again=False)
    table.write()
    return table


def test_seeds_measured_on_another_machine_are_joined_and_not_run_again(tmp_path: Path, small_catalog: Catalog) -> None:
    _ran(tmp_path / "one", small_catalog, range(1), [])
    _ran(tmp_path / "two", small_catalog, range(2), [tmp_path / "one" / "out" / "results.json"])
    assert sorted(path.name for path in (tmp_path / "two" / "out" / "runs").iterdir()) == ["s1_on_seed_1", "s1_seed_1"]
    record = json.loads((tmp_path / "two" / "out" / "results.json").read_text())
    assert [row["values"] for row in record["experiments"]] == [{"0": 50.0, "1": 50.0}] * 2
    assert record["questions"][0]["values"] == [{"0": 50.0, "1": 50.0}] * 2
    assert "50.00 ± 0.00 (accuracy, 2 seeds)" in (tmp_path / "two" / "out" / "README.md").read_text()
    third = _ran(tmp_path / "three", small_catalog, range(2), [tmp_path / "two" / "out" / "results.json"])
    assert not (third.runner.folder / "runs").exists()
    assert json.loads((third.runner.folder / "results.json").read_text())["experiments"] == record["experiments"]


def test_what_a_run_starts_from_is_run_here_though_it_was_measured_elsewhere(small_catalog: Catalog) -> None:
    experiments = [small_catalog.experiments[name] for name in ("s1", "s1_on")]
    elsewhere = {"s1": {0: Measured({}), 1: Measured({})}, "s1_on": {0: Measured({})}}
    names = [(one.experiment.name, one.seed) for one in seeded(experiments, range(3), elsewhere)]
    assert names == [("s1", 1), ("s1_on", 1), ("s1", 2), ("s1_on", 2)]


def test_what_was_measured_by_another_config_is_not_joined(tmp_path: Path, small_catalog: Catalog) -> None:
    table = _ran(tmp_path / "one", small_catalog, range(1), [])
    path = table.runner.folder / "results.json"
    experiment = dataclasses.replace(small_catalog.experiments["s1"], options={"model.rows": 7})
    changed = dataclasses.replace(small_catalog, experiments={**small_catalog.experiments, "s1": experiment})
    found, left_out = read_measured(path, changed, QUICK)
    assert (found, left_out) == ({}, ["s1, s1_on: measured by another config or command"])  # s1_on starts from s1
    assert set(read_measured(path, small_catalog, QUICK)[0]) == {"s1", "s1_on"}


def test_what_was_measured_with_other_options_is_not_joined(tmp_path: Path, small_catalog: Catalog) -> None:
    path = _ran(tmp_path / "one", small_catalog, range(1), []).runner.folder / "results.json"
    found, left_out = read_measured(path, small_catalog)
    assert (found, [words.partition(": ")[0] for words in left_out]) == ({}, ["s1 seed 0", "s1_on seed 0"])
    assert all(words.endswith(f"measured with --options {shlex.join(QUICK)!r}") for words in left_out)


ROW = '{"name": "s1", "digest": "", "seeds": {"0": {"scores": {"test/accuracy": "high"}}}}'


@pytest.mark.parametrize(
    "wrong",
    [
        "{}",
        "[1]",
        "not JSON",
        '{"fast": false, "experiments": [{"name": "s1"}]}',
        f'{{"fast": false, "experiments": [{ROW}]}}',
        '{"fast": true, "experiments": []}',
    ],
)
def test_a_file_that_is_no_table_of_measurements_is_not_joined(tmp_path: Path, small_catalog: Catalog, wrong: str) -> None:
    (tmp_path / "results.json").write_text(wrong)
    with pytest.raises(ValueError, match=r"results.json is (not a results.json of reproduce.py|a table of short runs)"):
        read_measured(tmp_path / "results.json", small_catalog)
