import pytest
import torch
from torch import Tensor

from lab.losses.distances import pair_distances
from lab.losses.tuples import balanced_pairs
from lab.metrics import ClassificationMetrics, EmbeddingMetrics, Evaluation
from lab.metrics.bootstrap import NUM_REPLICATES, intervals, mean_intervals, task_intervals, weights_of
from lab.metrics.one_shot import Tasks, draw_tasks, one_shot_hits


def test_each_replicate_draws_as_many_as_there_are_with_replacement() -> None:
    weights = torch.cat(list(weights_of(30, torch.Generator().manual_seed(0), 70)))
    assert weights.shape == (NUM_REPLICATES, 30)
    assert (weights.sum(1) == 30).all()
    assert weights.mean().item() == pytest.approx(1)
    assert weights.var().item() == pytest.approx(29 / 30, rel=0.05)  # binomial, of 30 draws of one in 30


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    hits = (torch.arange(400) < 300).float()
    low, high = mean_intervals({"accuracy": hits})["accuracy"]
    expected = stats.binom(400, 0.75)
    assert low == pytest.approx(expected.ppf(0.025) / 400, abs=0.01)
    assert high == pytest.approx(expected.ppf(0.975) / 400, abs=0.01)


def test_a_value_that_is_missing_is_left_out_of_every_mean() -> None:
    values = torch.rand(100, generator=torch.Generator().manual_seed(1))
    found = mean_intervals({"some": values.where(torch.arange(100) < 50, torch.nan), "all": values})
    low, high = found["some"]
    assert low < values[:50].mean() < high
    assert high - low > found["all"][1] - found["all"][0]  # of half as many


def test_the_size_of_the_chunks_does_not_change_an_interval() -> None:
    values = torch.rand(64, generator=torch.Generator().manual_seed(2)).double()

    def score(weights: Tensor) -> dict[str, Tensor]:
        return {"mean": weights @ values / 64}

    assert intervals(64, score, elements=1) == intervals(64, score, elements=2**21)


def _results(num_images: int) -> EmbeddingMetrics:
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(num_images) % 5
    embeddings = torch.eye(5)[labels] + 0.6 * torch.randn(num_images, 5, generator=generator)
    metrics = EmbeddingMetrics(
        balanced_pairs, lambda a, b: pair_distances(a, b, "euclidean"), evaluation=Evaluation(num_pairs=2000)
    )
    metrics.prepare("val", None)
    metrics.update(embeddings, labels)
    metrics.compute()
    metrics.reset()
    metrics.prepare("test", None)
    metrics.update(embeddings, labels)
    return metrics


def test_every_score_of_a_test_lies_in_its_interval_and_more_images_make_it_narrower() -> None:
    widths = []
    for num_images in (60, 240):
        metrics = _results(num_images)
        scores = metrics.compute()
        assert metrics.results is not None
        found = metrics.results.intervals
        assert found.keys() == scores.keys()
        for name, (low, high) in found.items():
            assert low - 1e-6 <= scores[name].item() <= high + 1e-6, name
        widths.append({name: high - low for name, (low, high) in found.items()})
    assert all(widths[1][name] < widths[0][name] for name in ("auc", "eer", "pair_accuracy", "recall@1", "map@r"))


def test_the_interval_of_verification_is_wider_than_if_pairs_that_share_images_were_independent() -> None:
    metrics = _results(60)
    accuracy = metrics.compute()["pair_accuracy"].item()
    assert metrics.results is not None
    low, high = metrics.results.intervals["pair_accuracy"]
    num_pairs = len(metrics.results.pairs["same"])
    assert high - low > 2 * 1.96 * (accuracy * (1 - accuracy) / num_pairs) ** 0.5


def test_a_classifiers_accuracies_are_those_of_scikit_learn_and_lie_in_their_intervals() -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(5)
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    logits = torch.eye(4)[labels] + torch.randn(100, 4, generator=generator)
    metrics = ClassificationMetrics()
    metrics.prepare("test", None)
    metrics.update(logits[:30], labels[:30])
    metrics.update(logits[30:], labels[30:])
    metrics.update(logits[:10], labels[:10], part="gallery")
    balanced = metrics.compute()["balanced_accuracy"].item()
    assert balanced == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, logits.argmax(1)))
    assert metrics.results is not None
    low, high = metrics.results.intervals["balanced_accuracy"]
    assert low < balanced < high
    low, high = metrics.results.intervals["accuracy"]
    assert low < (logits.argmax(1) == labels).float().mean() < high
    assert metrics.results.gallery is not None
    assert torch.equal(metrics.results.gallery, logits[:10].argmax(1).float())


def test_the_interval_of_one_shot_tasks_tells_what_other_images_would_give() -> None:
    means = torch.randn(10, 8, generator=torch.Generator().manual_seed(9)) * 1.5
    labels = torch.arange(10).repeat_interleave(30)
    tasks = draw_tasks(labels, 10, 1, 60, torch.Generator().manual_seed(0))
    assert tasks is not None
    accuracies, widths, of_tasks = [], [], []
    for seed in range(60):  # other images each time, of the same classes
        images = means[labels] + 0.8 * torch.randn(300, 8, generator=torch.Generator().manual_seed(seed))
        hits = one_shot_hits(images, tasks, "euclidean").float()
        accuracies.append(hits.mean().item())
        if seed < 5:
            low, high = task_intervals("a", hits, tasks, 300)["a"]
            assert low < accuracies[-1] < high
            widths.append(high - low)
            low, high = mean_intervals({"a": hits.mean(1)})["a"]
            of_tasks.append(high - low)
    spread = 3.92 * torch.tensor(accuracies).std().item()
    assert spread < sum(widths) / 5 < 2 * spread
    assert sum(of_tasks) / 5 < 0.9 * spread  # as if the tasks shared no image


def test_a_query_counts_as_often_as_the_product_of_what_it_and_its_examples_do() -> None:
    tasks = Tasks(torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[4, 5]]))
    hits = torch.tensor([[1.0, 0.0]])
    values = []
    for weights in weights_of(6, torch.Generator().manual_seed(0), 1):
        (row,) = weights.tolist()
        first, second = row[4] * (row[0] + row[1]) / 2, row[5] * (row[2] + row[3]) / 2
        values += [first / (first + second)] if first + second else []
    expected = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    assert task_intervals("a", hits, tasks, 6)["a"] == pytest.approx(tuple(expected.tolist()))
