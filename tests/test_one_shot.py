import pytest
import torch
from torch import Tensor

from lab.losses.distances import pair_distances
from lab.metrics.one_shot import Tasks, draw_tasks, one_shot_hits

SEEDS = range(3)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return pair_distances(first, second, "euclidean")


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _labels(seed: int, num: int = 90, num_classes: int = 8) -> Tensor:
    return torch.randint(0, num_classes, (num,), generator=_generator(seed))


def _hits_by_loop(embeddings: Tensor, tasks: Tasks, averaging: bool) -> list[list[bool]]:
    hits = []
    for support, queries in zip(tasks.support.tolist(), tasks.queries.tolist(), strict=True):
        row = []
        for own, query in enumerate(queries):
            distances = []
            for examples in support:
                if averaging:
                    center = torch.stack([embeddings[i] for i in examples]).mean(0)
                    distances.append(float((center - embeddings[query]).norm()))
                else:
                    distances.append(sum(float((embeddings[i] - embeddings[query]).norm()) for i in examples) / len(examples))
            row.append(all(distances[own] < other for i, other in enumerate(distances) if i != own))
        hits.append(row)
    return hits


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("num_ways", "num_shots"), [(5, 1), (3, 4), (8, 2)])
def test_a_task_has_distinct_classes_and_a_query_that_is_no_example(seed: int, num_ways: int, num_shots: int) -> None:
    labels = _labels(seed)
    tasks = draw_tasks(labels, num_ways, num_shots, 30, _generator())
    assert tasks is not None
    assert tasks.support.shape == (30, num_ways, num_shots)
    assert tasks.queries.shape == (30, num_ways)
    assert (labels[tasks.support] == labels[tasks.queries].unsqueeze(2)).all()
    for support, queries in zip(tasks.support, tasks.queries, strict=True):
        assert len(labels[queries].unique()) == num_ways
        images = torch.cat([support.flatten(), queries])
        assert len(images.unique()) == len(images)


def test_tasks_within_groups_never_mix_them_and_small_groups_are_left_out() -> None:
    labels = torch.arange(12).repeat_interleave(3)
    groups = torch.tensor([0] * 5 + [1] * 5 + [2] * 2)
    tasks = draw_tasks(labels, 4, 1, 50, _generator(), groups)
    assert tasks is not None
    of_task = groups[labels[tasks.queries]]
    assert (of_task == of_task[:, :1]).all()
    assert set(of_task[:, 0].tolist()) == {0, 1}


def test_fewer_classes_than_asked_for_are_all_of_them_and_too_few_images_are_no_task() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    tasks = draw_tasks(labels, 20, 1, 5, _generator())
    assert tasks is not None
    assert tasks.queries.shape == (5, 2)  # class 2 has no image to ask for
    assert draw_tasks(labels, 20, 2, 5, _generator()) is None
    assert draw_tasks(labels, 20, 1, 5, _generator(), torch.tensor([0, 1, 2])) is None


def test_the_same_generator_draws_the_same_tasks_and_every_class_gets_its_turn() -> None:
    labels = _labels(0)
    tasks = [draw_tasks(labels, 4, 1, 60, _generator(seed)) for seed in (1, 1, 2)]
    assert tasks[0] is not None
    assert tasks[1] is not None
    assert tasks[2] is not None
    assert torch.equal(tasks[0].support, tasks[1].support)
    assert not torch.equal(tasks[0].support, tasks[2].support)
    assert len(labels[tasks[0].queries].unique()) == 8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_shots", [1, 3])
@pytest.mark.parametrize("averaging", [True, False])
def test_hits_are_those_of_a_loop_over_tasks_queries_and_classes(seed: int, num_shots: int, averaging: bool) -> None:
    labels = _labels(seed)
    embeddings = torch.nn.functional.one_hot(labels).float() + torch.randn(len(labels), 8, generator=_generator(seed))
    tasks = draw_tasks(labels, 5, num_shots, 12, _generator())
    assert tasks is not None
    hits = one_shot_hits(embeddings, tasks, "euclidean" if averaging else _distance)
    assert hits.tolist() == _hits_by_loop(embeddings, tasks, averaging)
    assert 0 < hits.float().mean() < 1


@pytest.mark.parametrize("value", [0.0, 0.3, 1e6])
def test_a_tie_is_an_error_so_an_embedding_collapsed_to_one_point_hits_nothing(value: float) -> None:
    labels = _labels(1)
    tasks = draw_tasks(labels, 5, 1, 12, _generator())
    assert tasks is not None
    for distance in ("euclidean", "cosine", _distance):
        assert not one_shot_hits(torch.full((len(labels), 6), value), tasks, distance).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_cosine_hits_are_those_of_a_loop_over_unit_vectors(seed: int) -> None:
    labels = _labels(seed)
    embeddings = torch.nn.functional.one_hot(labels).float() + torch.randn(len(labels), 8, generator=_generator(seed))
    tasks = draw_tasks(labels, 5, 1, 12, _generator())
    assert tasks is not None
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    lengths = 0.1 + torch.rand(len(labels), 1, generator=_generator(seed))
    assert one_shot_hits(lengths * unit, tasks, "cosine").tolist() == _hits_by_loop(unit, tasks, averaging=True)


def test_where_all_embeddings_lie_does_not_matter() -> None:
    labels = _labels(3)
    embeddings = torch.nn.functional.one_hot(labels).float() + 0.3 * torch.randn(len(labels), 8, generator=_generator())
    tasks = draw_tasks(labels, 5, 1, 12, _generator())
    assert tasks is not None
    assert torch.equal(one_shot_hits(embeddings + 100, tasks, "euclidean"), one_shot_hits(embeddings, tasks, "euclidean"))


def test_classes_far_apart_are_all_told_right_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = _labels(2)
    embeddings = 10 * torch.nn.functional.one_hot(labels).float()
    tasks = draw_tasks(labels, 8, 2, 40, _generator())
    assert tasks is not None
    monkeypatch.setattr("lab.metrics.one_shot.MAX_PAIR_ELEMENTS", 1_200)
    largest = 0

    def distance(first: Tensor, second: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, first.numel())
        return _distance(first, second)

    assert one_shot_hits(embeddings, tasks, distance).all()
    assert 600 < largest <= 1_200
    assert one_shot_hits(embeddings, tasks, "euclidean").all()
