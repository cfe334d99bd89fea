from pathlib import Path

import pytest
from conftest import PROJECT, Script
from sweeps import LR, arguments

from lab.sweep.checks import check_values
from lab.sweep.settings import Settings
from lab.sweep.space import Parameter, grid, num_points, read_space
from lab.sweep.words import label


def _read(tmp_path: Path, text: str) -> list[Parameter]:
    (tmp_path / "space.yaml").write_text(text)
    return read_space(tmp_path / "space.yaml")


def test_a_space_has_choices_of_anything_and_ranges_of_whole_and_other_numbers(tmp_path: Path) -> None:
    text = (
        "a.b: {choices: [75, lab.nets.MLP, null, true, [1, 2], {class_path: x}, 1e-3]}\n"
        "a.c: {low: 1e-4, high: 1.0e-2, log: true}\na.d: {low: 0.0, high: 0.5, step: 0.1}\na.e: {low: 16, high: 128}\n"
    )
    choices, log, step, whole = _read(tmp_path, text)
    assert choices.named() == [75, "lab.nets.MLP", None, True, "[1, 2]", '{"class_path": "x"}', 0.001]
    texts = [choices.text(value) for value in choices.named()]
    assert texts == ["75", "lab.nets.MLP", "null", "true", "[1, 2]", '{"class_path": "x"}', "0.001"]
    assert [choices.meant(value) for value in choices.named()] == list(choices.choices)
    assert (log.low, log.high, log.log) == (0.0001, 0.01, True)
    assert step.points() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert (whole.is_whole, step.is_whole, log.is_whole) == (True, False, False)


def test_a_text_that_looks_like_another_value_stays_a_text(tmp_path: Path) -> None:
    (choices,) = _read(tmp_path, "a: {choices: ['null', '1', '[1]', plain, 'a: b: c']}")
    assert [choices.text(value) for value in choices.named()] == ['"null"', '"1"', '"[1]"', "plain", "a: b: c"]


def test_some_points_of_a_grid_are_not_its_first_and_more_begin_with_them(tmp_path: Path) -> None:
    space = _read(tmp_path, "a: {low: 0, high: 9, step: 1}\nb: {low: 0, high: 9, step: 1}\n")
    assert num_points(space) == 100
    some, more = list(grid(space, 5, seed=0)), list(grid(space, 20, seed=0))
    assert more[:5] == some != list(grid(space, 5, seed=1))
    assert len({number for number, _ in more}) == 20
    assert all(number == 10 * point["a"] + point["b"] for number, point in more)
    assert [number for number, _ in grid(space, None, seed=0)] == list(range(100))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "space.yaml holds no keys; a space has the keys of hyperparameters"),
        ("{}", "space.yaml holds no keys; a space has the keys of hyperparameters"),
        ("a: [1", "space.yaml:1 is not YAML"),
        ("a: {choices: [1]}\na: {choices: [2]}", "space.yaml:2 gives a again, which line 1 has given"),
        ("a: 3", "a must hold choices, or low and high, as in"),
        ("a:\n  b: {choices: [1]}", "unknown key a.b: a hyperparameter has choices, low, high, step, log; write keys in full"),
        ("a: {chioces: [1]}", "did you mean 'choices'? ("),
        ("a: {choices: []}", "a.choices must be a list, as in [16, 32], not []"),
        ("a: {choices: 3}", "a.choices must be a list, as in [16, 32], not 3"),
        ("a: {choices: [1, 2], low: 3}", "a has choices, so it can have no low"),
        ("a: {choices: [1, 2, 1]}", "a.choices has 1 twice"),
        ("a: {choices: [true, 1]}", "a.choices has True and 1, which Python takes for the same"),
        ("a: {choices: [2020-01-01]}", "write it in quotes"),
        ("a: {low: 1}", "a needs high"),
        ("a: {low: 2, high: 1}", "a.low must be below high, not 2 and 1"),
        ("a: {low: 0, high: .inf}", "a.high must be a number, not inf"),
        ("a: {low: true, high: 3}", "a.low must be a number, not True"),
        ("a: {low: 0, high: 1, log: true}", "a: where log is true, low must be above 0"),
        ("a: {low: 1, high: 3, log: true, step: 1}", "a: where log is true, there can be no step"),
        ("a: {low: 1, high: 2, log: 1}", "a.log must be true or false, not 1"),
        ("a: {low: 0.0, high: 0.5, step: 0.2}", "a: from low 0.0 in steps of 0.2, high 0.5 is not reached"),
        ("a: !!python/name:os.system {}", "space.yaml:1 has the tag"),
    ],
)
def test_what_is_wrong_in_a_space_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"space\.yaml") as wrong:
        _read(tmp_path, text)
    assert said in str(wrong.value)


@pytest.mark.parametrize(
    ("space", "more", "said"),
    [
        (
            "model.encoder.dropuot: {choices: [0.1]}",
            (),
            "unknown key model.encoder.dropuot: lab.nets.MLP has no 'dropuot'; did you mean 'dropout'? (space.yaml:1)",
        ),
        (
            "\nmodel.encodr.dropout: {choices: [0.1]}",
            (),
            "unknown key model.encodr.dropout; did you mean 'model.encoder.dropout'? (space.yaml:2)",
        ),
        ("model.encoder.dropout: {choices: [0.1, a]}", (), "model.encoder.dropout must be float, not 'a' (space.yaml:1)"),
        (
            "model.encoder.dropout: {low: 0.5, high: 1.5}",
            (),
            "model.encoder: MLP: dropout must be in [0, 1), not 1.5 (with model.encoder.dropout 1.5 of space.yaml)",
        ),
        (
            "model.encoder: {choices: [lab.nets.MLP, lab.nets.ConvNet]}\nmodel.encoder.dropout: {choices: [0.1]}",
            (),
            "unknown key model.encoder.dropout: lab.nets.ConvNet has no 'dropout'; it has depth, embedding_size, "
            "image_shape, later_width, width (space.yaml:2)",
        ),
        (
            "model: {choices: [lab.models.Classifier, lab.models.Siamese]}",
            (),
            "lab.models.Siamese is scored by val/auc, and others by val/accuracy: name a score that all trials have by "
            "--callbacks.monitor",
        ),
        (LR, ("--model.optimizer.lr", "1"), "model.optimizer.lr is in the space and on the command line"),
        (LR, ("--num_trails", "3"), "unrecognized argument --num_trails; did you mean --num_trials?"),
        (LR, ("--trainer.max_epoch", "3"), "unrecognized argument --trainer.max_epoch; did you mean '--trainer.max_epochs'?"),
        (LR, ("--ckpt_path", "a"), "--ckpt_path is for fit.py alone: leave it out"),
        (LR, ("--sampler", "grid"), "a grid needs choices or a step for every key, and model.optimizer.lr has none"),
        (
            "a: {choices: [1, 2]}",
            ("--sampler", "grid", "--num_trials", "3"),
            "the grid has 2 points, so --num_trials cannot be 3",
        ),
        ("a: {low: 0, high: 1000000, step: 1}", ("--sampler", "grid"), "a has 1,000,001 steps from low to high"),
        ("callbacks.monitor: {choices: [val/loss]}", (), "callbacks.monitor cannot be searched: it is the same for all trials"),
        ("data.folds.num: {choices: [2]}", ("--num_folds", "3"), "data.folds.num is set by --num_folds: leave one of them out"),
        (LR, ("--num_folds", "3", "--data.folds.num", "2"), "data.folds is set by --num_folds: leave it out of the config"),
        (LR, ("--trainer.devices", "2"), "trainer.devices 2: each trial is trained on one device"),
        (LR, ("--callbacks.monitor", "test/accuracy"), "callbacks.monitor test/accuracy: test images are not searched by"),
        (LR, ("--num_workers", "0"), "argument --num_workers: must be a whole number above 0, not '0'"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said_in_one_line_before_there_is_a_folder(
    script: Script, tmp_path: Path, space: str, more: tuple[str, ...], said: str
) -> None:
    done = script("sweep.py", *arguments(tmp_path, space, *more))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}") and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_runs_takes_no_sweep(script: Script, tmp_path: Path) -> None:
    (tmp_path / "out" / "runs").mkdir(parents=True)
    done = script("sweep.py", *arguments(tmp_path, LR))
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'out'} is not that of a sweep, as it has runs: name another by --output\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["runs"]


def test_the_space_in_the_readme_is_one(tmp_path: Path) -> None:
    text = (
        (PROJECT / "README.md").read_text().partition("with this `space.yaml`")[2].partition("```yaml")[2].partition("```")[0]
    )
    space = _read(tmp_path, text)
    assert [one.key.rpartition(".")[2] for one in space] == ["width", "max_lr", "rotate"]
    config = str(PROJECT / "configs" / "classifier.yaml")
    settings = Settings(["--config", config], space, tmp_path, "", "", "val/accuracy", "max", 1, {})
    check_values(settings, tmp_path / "space.yaml")


def test_values_are_said_in_few_words_unless_two_would_be_the_same(tmp_path: Path) -> None:
    text = "a: {choices: [x.Net, {class_path: x.Net, init_args: {b: 1, c: 0.123456}}, y.Loss, z.Loss, null, [1, 2], /a/b.c]}\n"
    choices, number = _read(tmp_path, text + "b: {low: 0.0, high: 1.0}\n")
    said = [label(choices, value) for value in choices.named()]
    assert said == ["Net", "Net(b=1, c=0.1235)", "y.Loss", "z.Loss", "null", "[1, 2]", "/a/b.c"]
    assert label(number, 0.123456) == "0.1235"


def test_the_settings_that_a_worker_is_sent_are_those_that_it_gets(tmp_path: Path) -> None:
    space = _read(tmp_path, "a.b: {choices: [null, [1], x]}\nc.b: {low: 1, high: 2}\nmodel: {choices: [y]}\n")
    settings = Settings(["--x", "1"], space, tmp_path, "sqlite:///x", "n", "val/auc", "max", 3, {"d": 1}, num_folds=2)
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.short_names() == {"a.b": "a.b", "c.b": "c.b", "model": "model"}
    values = {"a.b": "[1]", "c.b": 2, "model": "y"}
    assert settings.with_values(values) == ["--x", "1", "--model", "y", "--a.b", "[1]", "--c.b", "2"]  # a class, then its own
    trial = settings.of_trial(values, 7, 1)
    assert trial[:8] == settings.with_values(values)
    added = dict(zip(trial[8::2], trial[9::2], strict=True))
    assert added["--trainer.default_root_dir"] == str(tmp_path / "trials" / "7")
    assert (added["--name"], added["--data.folds.num"], added["--data.folds.held_out"]) == ("fold_1", "2", "1")
    assert added["--callbacks.checkpoints"] == added["--callbacks.pictures"] == added["--callbacks.board"] == "false"
