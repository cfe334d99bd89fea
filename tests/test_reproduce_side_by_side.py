import signal
import threading
import time
from pathlib import Path

import pytest

from lab.reproduce.catalog import Catalog, read_catalog
from lab.reproduce.side_by_side import Processes, Seeded, run_side_by_side, seeded
from lab.workers import environment_of_worker

CATALOG = """
fast: {lab.data.MNIST: {data.bundled: true}}
experiments:
- {name: s1, about: first, score: test/accuracy}
- {name: s1_on, about: starts from it, config: s1, score: test/accuracy, options: {weights_from: "{s1}/checkpoints/best.ckpt"}}
- {name: p4, about: of a folder, score: test/pair_accuracy}
- name: s2_found
  about: searched
  config: s2
  score: test/accuracy
  before: [{makes: "{shared}/x", command: "step.py {shared}/x"}]
questions: []
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    return read_catalog(tmp_path / "catalog.yaml")


class _Log:
    """When each one began and ended, and by which worker."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []
        self.workers: dict[str, int] = {}

    def run(self, one: Seeded, worker: int) -> str:
        name = one.experiment.name
        self.events.append(("begins", name, one.seed))
        self.workers[name] = worker
        time.sleep(0.15)
        self.events.append(("ends", name, one.seed))
        return name


def _asked(catalog: Catalog, *names: str, num_seeds: int = 1) -> list[Seeded]:
    return seeded([catalog.experiments[name] for name in names or catalog.experiments], range(num_seeds))


def test_one_worker_runs_them_in_their_order(catalog: Catalog) -> None:
    log = _Log()
    assert list(run_side_by_side(_asked(catalog), log.run, lambda: None, 1)) == ["s1", "s1_on", "p4", "s2_found"]
    assert [name for what, name, _ in log.events if what == "begins"] == ["s1", "s1_on", "p4", "s2_found"]
    assert set(log.workers.values()) == {0}


def test_one_waits_for_the_run_that_it_starts_from_and_lets_others_pass(catalog: Catalog) -> None:
    log = _Log()
    assert len(list(run_side_by_side(_asked(catalog, num_seeds=2), log.run, lambda: None, 3))) == 8
    assert len(log.events) == 16
    for seed in range(2):
        assert log.events.index(("ends", "s1", seed)) < log.events.index(("begins", "s1_on", seed))
    assert log.events.index(("begins", "p4", 0)) < log.events.index(("begins", "s1_on", 0))


def test_steps_that_all_seeds_share_are_not_taken_by_two_at_once(catalog: Catalog) -> None:
    log = _Log()
    list(run_side_by_side(_asked(catalog, "s1", "s2_found", num_seeds=4), log.run, lambda: None, 3))
    found = [event for event in log.events if event[1] == "s2_found"]
    assert found == [(what, "s2_found", seed) for seed in range(4) for what in ("begins", "ends")]


def test_as_many_run_together_as_there_are_workers_each_with_a_number_of_its_own(catalog: Catalog) -> None:
    together, places = threading.Barrier(2), []

    def run(one: Seeded, place: int) -> None:
        places.append(place)
        together.wait(timeout=10)  # for the other one

    list(run_side_by_side(_asked(catalog, "s1", "p4"), run, lambda: None, 2))
    assert sorted(places) == [0, 1]


def test_an_interrupt_ends_what_runs_and_begins_no_other(catalog: Catalog, tmp_path: Path) -> None:
    processes, codes = Processes(), []
    (tmp_path / "sleep.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    (tmp_path / "brief.py").write_text("")

    def run(one: Seeded, place: int) -> None:
        name = "brief.py" if one.experiment.name == "s1" else "sleep.py"
        with (tmp_path / f"{one.experiment.name}.log").open("w") as output:
            if name == "brief.py":
                while not (tmp_path / "p4.log").exists() or "here" not in (tmp_path / "p4.log").read_text():
                    time.sleep(0.01)
            codes.append((one.experiment.name, processes.run([str(tmp_path / name)], output, environment_of_worker(place, 2))))

    taken = run_side_by_side(_asked(catalog, "s1", "p4", "s1_on"), run, processes.end, 2)
    next(taken)  # s1 has ended, and p4 runs
    with pytest.raises(KeyboardInterrupt):
        taken.throw(KeyboardInterrupt)
    assert codes == [("s1", 0), ("p4", -signal.SIGTERM)]
    with (tmp_path / "late.log").open("w") as output:
        assert processes.run([str(tmp_path / "brief.py")], output, environment_of_worker(0, 2)) == -signal.SIGTERM


def test_workers_share_the_processors_unless_the_user_has_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("lab.workers._num_processors", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert "OMP_NUM_THREADS" not in environment_of_worker(0, 1)
    shares = [environment_of_worker(place, 3) for place in range(3)]
    assert [share["OMP_NUM_THREADS"] for share in shares] == ["2", "2", "2"]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["4", "6", "4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment_of_worker(0, 3)["OMP_NUM_THREADS"] == "5"
