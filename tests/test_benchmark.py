import importlib
import itertools
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from conftest import PROJECT, Script
from lightning.pytorch import LightningModule

from lab import busy, plots
from lab.benchmark import measure as measure_module
from lab.benchmark import own as own_module
from lab.benchmark import scaling
from lab.benchmark.bare import index_batches, target_of
from lab.benchmark.cases import CASES, Case, Halves, batch_hard, contrastive
from lab.benchmark.clock import Clock, Enough, peak_memory
from lab.benchmark.command import NAMES
from lab.benchmark.contest import PEERS, peers_of
from lab.benchmark.data import digits, make_data
from lab.benchmark.measure import Taken, measure, ratio
from lab.benchmark.options import WITH_OPTIONS, Step, ways_of
from lab.benchmark.scaling import Growth, exponent
from lab.benchmark.scoring import SCORING
from lab.benchmark.table import ABOUT, markdown, record_of
from lab.busy import Moment
from lab.data import MNIST
from lab.losses import ContrastiveLoss, TripletLoss
from lab.losses.distances import pair_distances
from lab.models import SplitImage
from lab.nets import MLP
from lab.plots.timings import time_words

FACTS = {
    "command": "",
    "rounds": 3,
    "accelerator": "cpu",
    "device": "a CPU",
    "python": "3",
    "versions": {"torch": "2"},
    "commit": "abc",
    "missing": [],
    "disturbed": [],
    "uncommitted_changes": False,
    "absent": [],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    make_data(made)
    return made


def _embeddings(num: int) -> torch.Tensor:
    return torch.randn(num, 5, generator=torch.Generator().manual_seed(0))


def test_the_bare_loop_has_the_losses_of_this_codebase() -> None:
    embeddings, same = _embeddings(12), torch.tensor([True, False] * 3)
    own = ContrastiveLoss()(pair_distances(embeddings[:6], embeddings[6:], "euclidean"), same.float())
    torch.testing.assert_close(contrastive(embeddings, same), own)
    labels = torch.tensor([0, 1, 2] * 4)
    torch.testing.assert_close(batch_hard(embeddings, labels), TripletLoss()(embeddings, labels))


def test_the_bare_network_of_s1_is_that_of_this_codebase() -> None:
    encoder = MLP((1, 14, 28), [], 10, bias=False)
    model, bare = SplitImage(encoder, 10, head="bias"), Halves()
    bare.shared.weight.data = next(encoder.parameters()).data
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(bare(images), model(images))
    assert sum(p.numel() for p in bare.parameters()) == 3_930


def test_torchvision_and_this_codebase_read_the_digits_that_are_timed(root: Path) -> None:
    images, labels = digits(root)
    theirs = torchvision.datasets.MNIST(str(root))
    assert torch.equal(theirs.data.unsqueeze(1), images)
    assert torch.equal(theirs.targets, labels)
    ours = MNIST(root=root)
    ours.prepare_data()
    assert torch.equal(ours.read()["train"][:][0], images)
    assert len(labels.unique()) == 10
    assert torch.equal(images[:4000], images[4000:8000])  # the bundled ones, again


@pytest.mark.parametrize("case", ["p2", "s1", "t1"])
def test_bare_batches_are_pairs_classes_or_any_images(case: str) -> None:
    labels = torch.arange(1_000) % 10
    batches = index_batches(CASES[case], labels)
    assert {len(batch) for batch in batches} == {CASES[case].batch_size}
    if case == "s1":
        assert len(torch.cat(batches).unique()) == len(batches) * 32
    elif case == "t1":
        assert all(torch.bincount(labels[batch]).tolist() == [8] * 10 for batch in batches)
    else:
        same = target_of(CASES[case], labels[batches[0]])
        assert same[::2].all()  # every other pair is of one class
        assert not same[1::2].all()


def test_the_clock_leaves_out_the_first_epoch_and_ends_after_the_time_it_was_given() -> None:
    clock = Clock(seconds=0.0)
    assert clock.record()["milliseconds"] is None
    clock.lap(10)
    with pytest.raises(Enough):
        clock.lap(5)
    assert clock.steps == 5
    milliseconds = clock.record()["milliseconds"]
    assert milliseconds is not None
    assert 0 <= milliseconds < 1_000
    patient = Clock(seconds=60.0)
    for _ in range(3):
        patient.lap(1)
    assert patient.steps == 2


def test_the_peak_of_memory_is_that_of_the_process_itself() -> None:
    words = (
        "import lab.benchmark.clock as c; first = c.peak_memory(); held = bytearray(80 * 2**20); print(first, c.peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", words], cwd=PROJECT, capture_output=True, text=True, check=True)
    first, then = map(float, done.stdout.split())
    assert 70 < then - first < 100
    own = peak_memory()
    assert own is None or first < own  # this one has PyTorch


def test_ratios_are_of_rounds_that_belong_together() -> None:
    assert ratio(Taken([2.0, 30.0, 4.0]), Taken([1.0, 10.0, 4.0])) == 2.0
    assert math.isnan(ratio(Taken([]), Taken([1.0])))


def test_contestants_take_turns_and_one_that_fails_has_no_further_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def run(case: str, peer: str, *_: Any) -> dict[str, Any] | str:
        asked.append(peer)
        return "out of | memory" if peer == "stock" else {"milliseconds": 2.0 if peer == "own" else 1.0, "mebibytes": 10.0}

    monkeypatch.setattr(measure_module, "_run", run)
    said: list[str] = []
    results = {"p2": {"own": Taken(), "bare": Taken(), "stock": Taken()}}
    measure("p2", results["p2"], tmp_path, 3, 1.0, lambda *words: said.append(str(words)))
    assert said[:4] == ["(1, 'own', '2 ms')", "(1, 'bare', '1 ms')", "(1, 'stock', 'out of | memory')", "(2, 'bare', '1 ms')"]
    assert asked == ["own", "bare", "stock", "bare", "own", "own", "bare"]
    facts = FACTS | {"missing": ["s1", "scaling"], "disturbed": ["p2"], "uncommitted_changes": True, "absent": ["keras"]}
    growth = Growth("drawing", "step", {10: 5.0, 100: 5.0, 1_000: 50_000.0})
    record = record_of(results, {"images": [growth, Growth("search", "image", {10: 2.0})]}, facts)
    text = markdown(record)
    assert (
        "| a bare loop, or the bare products | 1 (1 to 1) | 256,000 | 2.00 times that; at most 1.25: missed | 10 MiB |" in text
    )
    assert "| Lightning, torchvision's data, DataLoader | failed: out of \\| memory |  | at most 0.2 |" in text
    assert "failed: out of \\| memory" in text
    assert "**Not to be relied on: other programs used the processor when these began: p2.**" in text
    assert "**Not complete: s1, scaling are still to be measured.**" in text
    assert "a CPU, Python 3, torch 2; commit abc with changes. Not installed, so not timed: keras." in text
    assert "| drawing, a step | 5 | 5 | 50,000 | 5.00 |" in text
    assert "| search, an image | 2 |  |  |  |" in text
    own, bare, _ = record["cases"][0]["peers"]
    assert (own["own_takes"], bare["own_takes"], bare["reached"]) == (None, 2.0, False)
    json.dumps(record)


def test_what_costs_the_same_a_step_grows_linearly_with_the_number_of_steps() -> None:
    same, ten_times = Growth("a", "step", {10: 3.0, 100: 7.0, 1_000: 7.0}), Growth("a", "image", {10: 3.0, 100: 30.0})
    assert [exponent(axis, same) for axis in ("images", "classes", "batch size")] == [1.0, 0.0, -1.0]
    assert exponent("images", ten_times) == pytest.approx(2.0)
    assert exponent("images", Growth("a", "step", {10: 3.0})) is None


def test_every_part_is_timed_at_every_size_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "AXES", {"images": (200, 1_000), "classes": (10, 500)})
    monkeypatch.setattr(scaling, "NUM_IMAGES", 1_000)
    monkeypatch.setattr(scaling, "BATCH_SIZE", 40)
    said: list[str] = []
    found = {axis: {growth.part: growth.microseconds for growth in parts} for axis, parts in scaling.grow(said.append).items()}
    assert said[3:5] == ["scaling, 1 of 2, classes: 500", "scaling, 2 of 2, images: 200"]
    assert list(found["images"]["gathering a batch"]) == [200, 1_000]
    assert list(found["images"]["drawing P x K batches"]) == [1_000]  # 200 images of 100 classes are too few
    assert list(found["classes"]["drawing P x K batches"]) == [10]
    assert all(value > 0 for parts in found.values() for taken in parts.values() for value in taken.values())


def test_every_contestant_is_there_and_has_a_name() -> None:
    for case in (*CASES, *SCORING, *WITH_OPTIONS):
        for accelerator in ("cpu", "gpu"):
            assert set(peers_of(case, accelerator)) <= set(ABOUT)
            assert "own" in peers_of(case, accelerator)
    for path in PEERS.values():
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.slow
def test_the_bare_loop_is_timed_in_a_process_without_lightning(root: Path, tmp_path: Path) -> None:
    words = f"""
import sys
sys.argv[1:] = ["s1", "bare", {str(root)!r}, "0.01", {str(tmp_path / "taken.json")!r}, "cpu"]
from lab.benchmark.contest import main
main()
assert "lightning" not in sys.modules and "lab.data" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads((tmp_path / "taken.json").read_text())["milliseconds"] < 1_000


def test_the_cases_of_the_help_are_those_that_there_are() -> None:
    assert NAMES.split() == [*CASES, *SCORING, *WITH_OPTIONS, "start_up", "scaling"]


def test_what_is_timed_of_scoring_is_what_is_compared(root: Path) -> None:
    calls = SCORING["one_shot"][1](root, torch.device("cpu"))
    assert calls["own"]().shape == (400, 20)  # type: ignore[attr-defined]
    assert calls["bare"]().shape == (400, 20, 20)  # type: ignore[attr-defined]


def test_timings_have_a_panel_a_case_and_a_row_for_each_that_has_a_time() -> None:
    figure = plots.timings({"p2": {"this codebase": [2.0, 3.0], "Keras": []}, "s1": {}})
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["this codebase"]
    assert first.get_xscale() == "log"
    assert "nobody has a time" in [text.get_text() for text in second.texts]


@pytest.mark.parametrize(("duration", "words"), [(0.58712, "0.587"), (43.21, "43.2"), (999.4, "999"), (10_900.2, "10,900")])
def test_a_time_is_said_with_three_digits_or_whole(duration: float, words: str) -> None:
    assert time_words(duration) == words


def test_the_script_refuses_what_it_does_not_know(script: Script) -> None:
    for wrong, complaint in (
        (["p9"], "there is no case 'p9'; did you mean p2? there are p2, s1"),
        (["zzz"], "there is no case 'zzz'; there are p2, s1"),
        (["p2", "-o", str(PROJECT / "README.md")], f"-o {PROJECT / 'README.md'} is a file: name a folder"),
        (["--rounds", "0"], "above 0"),
        (["p2", "--accelerator", "tpu"], "invalid choice: 'tpu'"),
        (["p2", "folder", "--accelerator", "gpu"], "folder is timed on the CPU alone: leave it, or --accelerator gpu, out"),
        (["--seconds", "-1"], "above 0"),
    ):
        done = script("benchmark.py", *wrong)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "written", "reason"),
    [
        (1, "Traceback:\n  File x\ntorch.exc.InductorError: no AVX2\n\nSet X=1 for more\n", "torch.exc.InductorError: no AVX2"),
        (2, "error: no such folder\n", "error: no such folder"),
        (1, "first\nlast\n", "last"),
        (3, "", "exit code 3"),
        (-9, "SomeError: that was handled\n", "ended by SIGKILL"),
    ],
)
def test_a_contestant_that_failed_is_said_to_have_failed_by_what_ended_it(code: int, written: str, reason: str) -> None:
    assert measure_module._reason(code, written) == reason


def test_a_contestant_does_not_inherit_what_lightning_has_set_for_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[dict[str, str]] = []

    def run(words: list[str], env: dict[str, str], **_: Any) -> SimpleNamespace:
        given.append(env)
        return SimpleNamespace(returncode=1, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    measure("s1", {"bare": Taken()}, tmp_path, 1, 1.0, say=lambda *_: None)
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in given[0]
    assert given[0]["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(("stopped_by", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_what_was_measured_stays_where_a_benchmark_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, script: Script, tmp_path: Path, stopped_by: BaseException, code: int
) -> None:
    def run(case: str, peer: str, *_: Any) -> dict[str, Any]:
        if (case, peer) == ("p2", "lightning"):
            raise stopped_by
        return {"milliseconds": 2.0}

    monkeypatch.setattr(measure_module, "_run", run)
    monkeypatch.setattr("lab.benchmark.data.make_data", lambda _: None)
    seconds = itertools.count(100.0)
    monkeypatch.setattr(busy, "now", lambda: Moment(next(seconds), 7.0, 3.0, 2))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.json").write_text('{"scaling": {}}')
    (out / "scaling.png").write_text("of an earlier run")
    done = script("benchmark.py", "s1", "p2", "--rounds", "2", "-o", "out")
    assert done.returncode == code
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"takes some \d+ min on an idle machine; .*out", lines[0])
    assert lines[1].startswith("WARNING: s1 is not to be relied on: other programs use the processor, 0.0 cores are free")
    assert lines[2] == "s1, 1 of 2, this codebase: 2 ms"
    assert lines[-1] == f"interrupted; what was measured is in {out}"
    text = (out / "README.md").read_text()
    assert text.count("| a bare loop, or the bare products | 2 (2 to 2) |") == 2
    assert "Not complete: p2 is still to be measured." in text
    assert "when these began: s1, p2." in text
    assert not (out / "scaling.png").exists()


@pytest.mark.parametrize("there", ["[]", "{", None])
def test_a_benchmark_writes_over_nothing_but_a_benchmark(script: Script, tmp_path: Path, there: str | None) -> None:
    (tmp_path / "out").mkdir()
    if there is not None:  # such as reproduce.py writes
        (tmp_path / "out" / "results.json").write_text(there)
    (tmp_path / "out" / "README.md").write_text("my notes")
    done = script("benchmark.py", "p2", "-o", "out")
    assert done.returncode == 2
    assert "out holds other files, which would be written over: name a new folder" in done.stderr
    assert (tmp_path / "out" / "README.md").read_text() == "my notes"


def test_the_sizes_of_growth_are_written_in_full() -> None:
    figure = plots.growth({"images": {"drawing": {1_000: 2.0, 1_000_000: 9_000_000.0}}})
    (axes,) = figure.axes
    figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "1,000,000"]
    assert not any("e+" in label.get_text() for label in axes.get_yticklabels())


def test_a_contestant_that_failed_after_some_rounds_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = iter([{"milliseconds": 2.0}, {"milliseconds": 1.0}, "killed", {"milliseconds": 2.0}])
    monkeypatch.setattr(measure_module, "_run", lambda *_: next(answers))
    results = {"p2": {"own": Taken(), "bare": Taken()}}
    measure("p2", results["p2"], tmp_path, 2, 1.0, say=lambda *_: None)
    text = markdown(record_of(results, {}, FACTS))
    assert "| 1 (1 to 1), then failed: killed | 256,000 | 2.00 times that" in text


@pytest.mark.parametrize("epochs", [1, 2])
def test_this_codebase_is_timed_without_its_first_epoch(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    clock = Clock(seconds=60.0)
    monkeypatch.setattr(own_module, "_clocks", [clock])
    for epoch in range(epochs + 1):
        trainer = SimpleNamespace(current_epoch=epoch, num_training_batches=7)
        own_module.OwnClock().on_train_epoch_start(trainer, LightningModule())  # type: ignore[arg-type]
    assert clock.steps == 7 * (epochs - 1)


def test_without_a_gpu_none_is_timed(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = script("benchmark.py", "p2", "--accelerator", "gpu")
    assert done.returncode == 2
    assert done.stderr == "error: --accelerator gpu: PyTorch sees no GPU here: leave it out to time the CPU\n"


def test_a_gpu_is_waited_for_before_the_time_is_taken_and_its_memory_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr("lab.benchmark.clock.time.perf_counter", lambda: seconds[0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: seconds.__setitem__(0, seconds[0] + 2.0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    clock = Clock(seconds=60.0, of_gpu=True)
    clock.lap(1)
    assert clock.timed == 0.0
    clock.lap(1)
    assert clock.record() == {"milliseconds": 2_000.0, "mebibytes": 3.0}


@pytest.mark.parametrize("peer", ["own", "own_bf16", "own_recorded", "bare", "lightning", "stock", "metric_learning"])
def test_contestants_train_on_the_accelerator_of_the_case(peer: str, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    if peer == "metric_learning":
        pytest.importorskip("pytorch_metric_learning")
    asked: list[str] = []

    class AskedError(Exception):
        pass

    def note(*arguments: Any, **options: Any) -> None:
        asked.append(f"{[str(argument) for argument in arguments]} {options}")
        raise AskedError

    def fit() -> None:
        asked.append(" ".join(sys.argv))
        raise AskedError

    # Stands in for a GPU, which this machine need not have: what is sent there holds no numbers.
    monkeypatch.setattr(Case, "device", property(lambda self: torch.device("meta" if self.accelerator == "gpu" else "cpu")))
    monkeypatch.setattr("lab.commands.fit", fit)
    monkeypatch.setattr("lab.benchmark.peers.Trainer", lambda **options: SimpleNamespace(fit=partial(note, **options)))
    monkeypatch.setattr("lab.benchmark.peers.LeanModel", lambda case, images, labels: (images.device, labels.device))
    monkeypatch.setattr("lab.benchmark.bare.index_batches", lambda case, labels: note(labels.device))
    if peer == "metric_learning":
        monkeypatch.setattr("pytorch_metric_learning.trainers.MetricLossOnly", note)
    module, _, name = PEERS[peer].rpartition(".")
    with pytest.raises(AskedError):
        getattr(importlib.import_module(module), name)(replace(CASES["p2"], accelerator="gpu"), root, Clock(0.0))
    trainer = "'accelerator': 'gpu', 'devices': 1"  # where there are several, this codebase trains on one
    expected = {"bare": "['meta']", "metric_learning": "'data_device': device(type='meta')"}
    assert expected.get(peer, "--trainer.accelerator gpu" if peer.startswith("own") else trainer) in asked[0]
    assert ("(device(type='meta'), device(type='meta'))" in asked[0]) == (peer == "lightning")
    assert ("--trainer.precision bf16-mixed" in asked[0]) == (peer == "own_bf16")
    assert ("--callbacks.compile cudagraphs" in asked[0]) == (peer == "own_recorded")


def test_a_step_in_bf16_has_outputs_in_bf16_and_a_loss_in_float32() -> None:
    seen: list[torch.dtype] = []

    def loss(outputs: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
        seen.append(outputs.dtype)
        return contrastive(outputs, same)

    case = replace(CASES["p2"], batch_size=16, loss=loss)
    step = Step(case, "bf16")
    network = step.parts[0]
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    before = [parameter.clone() for parameter in network.parameters()]
    step()
    assert seen == [torch.bfloat16, torch.float32]
    assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_of_options_it_is_said_which_are_chosen() -> None:
    text = markdown(record_of({"options_p2": {"own": Taken([2.0]), "bf16": Taken([4.0])}}, {}, FACTS))
    assert "128 pairs a step | as it is chosen here | 2 (2 to 2) | 128,000 |  |" in text
    assert "| the network in bf16 | 4 (4 to 4) | 64,000 | 0.50 times that |" in text


def test_a_gpu_has_ways_of_its_own_to_take_a_step() -> None:
    t1 = WITH_OPTIONS["options_t1"]
    assert {"one_thread", "memory_given_back", "looped"} <= set(ways_of(t1))
    assert ways_of(replace(t1, accelerator="gpu")) == ["contiguous", "compiled", "recorded", "bf16"]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["p2", "t1", "residual", "one_shot", "folder"])
def test_every_contestant_of_a_case_takes_some_time(script: Script, tmp_path: Path, case: str) -> None:
    done = script("benchmark.py", case, "--rounds", "1", "--seconds", "0.1", "-o", "out")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "out" / "results.json").read_text())["cases"]
    assert {entry["peer"]: entry["reason"] for entry in record["peers"]} == dict.fromkeys(peers_of(case), "")
    assert all(entry["median"] > 0 for entry in record["peers"])


@pytest.mark.slow
def test_the_script_times_every_contestant_of_a_case_and_the_start(script: Script, tmp_path: Path) -> None:
    done = script("benchmark.py", "s1", "start_up", "--rounds", "1", "--seconds", "0.1", "-o", "out")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    for case in record["cases"]:
        assert [entry["reason"] for entry in case["peers"]] == [""] * len(case["peers"])
        assert all(entry["median"] > 0 for entry in case["peers"])
    assert re.search(r"this codebase \| [\d.]+ \(", (tmp_path / "out" / "README.md").read_text())
    assert (tmp_path / "out" / "timings.png").stat().st_size > 5_000
