from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lab.metrics import gallery, retrieval
from lab.metrics.retrieval import nearest_neighbor_hits, search_values

SEEDS = range(3)


def recall_at_1(embeddings: Tensor, labels: Tensor) -> Tensor:
    return search_values(embeddings, labels)["recall@1"].nanmean()


def map_at_r(embeddings: Tensor, labels: Tensor) -> Tensor:
    return search_values(embeddings, labels)["map@r"].nanmean()


def nearest_neighbor_accuracy(queries: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor) -> Tensor:
    return nearest_neighbor_hits(queries, labels, gallery, gallery_labels).float().mean()


def _random(seed: int, size: int = 61, num_classes: int = 7, dimensions: int = 4) -> tuple[Tensor, Tensor]:
    """Return embeddings that lie near their class, more or less, and labels, the last of which has only one image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, (size,), generator=generator)
    labels[0] = num_classes
    centers = torch.randn(num_classes + 1, dimensions, generator=generator)
    return centers[labels] + 0.8 * torch.randn(size, dimensions, generator=generator), labels


def _on_a_grid(seed: int, size: int = 61, num_classes: int = 3) -> tuple[Tensor, Tensor]:
    """Return embeddings with small integer coordinates, so that many distances are equal."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, (size,), generator=generator)
    return torch.randint(0, 5, (size, 2), generator=generator).float(), labels


def _ranked_by_loop(query: Tensor, label: int, gallery: list[tuple[Tensor, int]]) -> list[bool]:
    """Return whether each of the gallery has the query's class, from the nearest to the farthest, wrong ones first in a tie."""
    distances = [
        ((query.double() - other.double()).square().sum().item(), other_label == label) for other, other_label in gallery
    ]
    return [same for _, same in sorted(distances)]


def _rankings_by_loop(embeddings: Tensor, labels: Tensor) -> list[list[bool]]:
    """Return the ranking of all other images for each image that is not alone in its class."""
    items = [(embedding, int(label)) for embedding, label in zip(embeddings, labels, strict=True)]
    rankings = [_ranked_by_loop(*items[i], items[:i] + items[i + 1 :]) for i in range(len(items))]
    return [ranking for ranking in rankings if any(ranking)]


def _recall_by_loop(embeddings: Tensor, labels: Tensor) -> float:
    rankings = _rankings_by_loop(embeddings, labels)
    return sum(ranking[0] for ranking in rankings) / len(rankings)


def _map_at_r_by_loop(embeddings: Tensor, labels: Tensor) -> float:
    scores = []
    for ranking in _rankings_by_loop(embeddings, labels):
        number = sum(ranking)
        scores.append(sum(sum(ranking[: i + 1]) / (i + 1) for i in range(number) if ranking[i]) / number)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("seed", SEEDS)
def test_recall_and_map_are_those_of_a_loop_over_all_images(seed: int) -> None:
    embeddings, labels = _random(seed)
    assert recall_at_1(embeddings, labels).item() == pytest.approx(_recall_by_loop(embeddings, labels))
    assert map_at_r(embeddings, labels).item() == pytest.approx(_map_at_r_by_loop(embeddings, labels))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tie_with_another_class_is_an_error_everywhere(seed: int) -> None:
    embeddings, labels = _on_a_grid(seed)
    assert recall_at_1(embeddings, labels).item() == pytest.approx(_recall_by_loop(embeddings, labels))
    assert map_at_r(embeddings, labels).item() == pytest.approx(_map_at_r_by_loop(embeddings, labels))


@pytest.mark.parametrize("seed", SEEDS)
def test_recall_and_map_are_those_of_pytorch_metric_learning(seed: int) -> None:
    calculators = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    inference = pytest.importorskip("pytorch_metric_learning.utils.inference")
    calculator = calculators.AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r", "r_precision"),
        k="max_bin_count",
        device=torch.device("cpu"),
        knn_func=inference.CustomKNN(distances.LpDistance(normalize_embeddings=False)),  # the default needs faiss
        kmeans_func=lambda *_: None,
    )
    embeddings, labels = _random(seed, size=150)
    expected = calculator.get_accuracy(embeddings, labels)
    assert recall_at_1(embeddings, labels).item() == pytest.approx(expected["precision_at_1"])
    assert map_at_r(embeddings, labels).item() == pytest.approx(expected["mean_average_precision_at_r"])
    assert search_values(embeddings, labels)["r_precision"].nanmean().item() == pytest.approx(expected["r_precision"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ties", [False, True])
def test_recall_at_k_and_r_precision_are_those_of_a_loop_for_each_image(seed: int, ties: bool) -> None:
    embeddings, labels = _on_a_grid(seed) if ties else _random(seed)
    values = search_values(embeddings, labels, depths=(1, 2, 7))
    items = [(embedding, int(label)) for embedding, label in zip(embeddings, labels, strict=True)]
    for i, item in enumerate(items):
        ranking = _ranked_by_loop(*item, items[:i] + items[i + 1 :])
        if not any(ranking):
            assert all(value[i].isnan() for value in values.values())
            continue
        assert [bool(values[f"recall@{k}"][i]) for k in (1, 2, 7)] == [any(ranking[:k]) for k in (1, 2, 7)]
        assert values["r_precision"][i].item() == pytest.approx(sum(ranking[: sum(ranking)]) / sum(ranking))


def test_more_neighbours_than_there_are_images_are_all_of_them() -> None:
    embeddings, labels = torch.tensor([[0.0], [2.0], [3.0], [6.0]]), torch.tensor([0, 1, 1, 0])
    values = search_values(embeddings, labels, depths=(1, 100))
    assert values["recall@1"].tolist() == [0, 1, 1, 0]
    assert values["recall@100"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ties", [False, True])
def test_nearest_neighbor_accuracy_is_that_of_a_loop_over_queries_and_gallery(seed: int, ties: bool) -> None:
    embeddings, labels = _on_a_grid(seed) if ties else _random(seed)
    queries, gallery = embeddings[:40], embeddings[40:]
    pairs = [(embedding, int(label)) for embedding, label in zip(gallery, labels[40:], strict=True)]
    hits = [_ranked_by_loop(query, int(label), pairs)[0] for query, label in zip(queries, labels[:40], strict=True)]
    accuracy = nearest_neighbor_accuracy(queries, labels[:40], gallery, labels[40:])
    assert accuracy.item() == pytest.approx(sum(hits) / len(hits))


def test_nearest_neighbor_accuracy_is_that_of_the_classifier_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    embeddings, labels = _random(5, size=200)
    classifier = neighbors.KNeighborsClassifier(1).fit(embeddings[100:].numpy(), labels[100:].numpy())
    accuracy = nearest_neighbor_accuracy(embeddings[:100], labels[:100], embeddings[100:], labels[100:])
    assert accuracy.item() == pytest.approx(classifier.score(embeddings[:100].numpy(), labels[:100].numpy()))


def test_a_query_whose_class_is_not_in_the_gallery_is_an_error() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    accuracy = nearest_neighbor_accuracy(points, torch.tensor([0, 9]), points, torch.tensor([0, 1]))
    assert accuracy == 0.5


@pytest.mark.parametrize("max_elements", [1, 61, 200, 61 * 61, 10**9])
def test_the_size_of_the_chunks_changes_no_score(max_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = _random(1)
    expected = (
        recall_at_1(embeddings, labels),
        map_at_r(embeddings, labels),
        nearest_neighbor_accuracy(embeddings[:20], labels[:20], embeddings, labels),
    )
    monkeypatch.setattr(retrieval, "MAX_CHUNK_ELEMENTS", max_elements)
    actual = (
        recall_at_1(embeddings, labels),
        map_at_r(embeddings, labels),
        nearest_neighbor_accuracy(embeddings[:20], labels[:20], embeddings, labels),
    )
    torch.testing.assert_close(actual, expected)


def test_no_more_distances_are_held_at_once_than_a_chunk_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = _random(1)
    monkeypatch.setattr(retrieval, "MAX_CHUNK_ELEMENTS", 200)
    chunks = list(retrieval._distance_chunks(embeddings, labels, embeddings, labels))
    assert all(distances.numel() <= 200 for distances, _, _ in chunks)
    assert torch.equal(torch.cat([rows for _, _, rows in chunks]), torch.arange(len(labels)))


@pytest.mark.parametrize("name", ["same", "others"])
def test_no_more_distances_are_made_at_once_than_a_tile_may_have(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = _random(1)
    expected = search_values(embeddings, labels)
    monkeypatch.setattr(gallery, "MAX_TILE_ELEMENTS", 100)
    sizes: list[int] = []

    def counted(of: gallery.Gallery, queries: range) -> Iterator[Tensor]:
        for distances in as_before(of, queries):
            sizes.append(distances.numel())
            yield distances

    as_before = getattr(gallery.Gallery, name)
    monkeypatch.setattr(gallery.Gallery, name, counted)
    torch.testing.assert_close(search_values(embeddings, labels), expected, equal_nan=True)
    assert len(sizes) > 1
    assert max(sizes) <= 100


def test_where_too_many_are_near_fewer_images_are_looked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = torch.randn(90, 4, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3
    expected = search_values(embeddings, labels)
    monkeypatch.setattr(retrieval, "MAX_CHUNK_ELEMENTS", 1200)
    numbers: list[int] = []

    def counted(*arguments: Any) -> Any:
        found = as_before(*arguments)
        numbers.append(-1 if found is None else sum(len(part) for parts in found for part in parts))
        return found

    as_before = retrieval._within
    monkeypatch.setattr(retrieval, "_within", counted)
    torch.testing.assert_close(search_values(embeddings, labels), expected)
    assert numbers[0] == -1
    assert 0 < max(numbers) <= 1200


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_too_low_a_guess_of_what_matters_changes_no_score(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = _random(2, size=150, num_classes=4)
    expected = search_values(embeddings, labels)
    monkeypatch.setattr(gallery.Gallery, "limits", lambda self, queries, last, least: last * share)
    torch.testing.assert_close(search_values(embeddings, labels), expected, equal_nan=True)


@pytest.mark.parametrize("spread", [0.3, 1.0, 30.0])
def test_a_guess_from_a_sample_spares_most_distances_and_changes_no_score(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(2000) % 40
    embeddings = torch.randn(40, 8, generator=generator)[labels] + spread * torch.randn(2000, 8, generator=generator)
    spared = search_values(embeddings, labels)
    of = gallery.Gallery(embeddings[labels.argsort()], labels.sort().values, 10**9)
    last = torch.full((2000,), torch.inf)
    within = torch.cat(list(of.others(range(2000))), 1) <= of.limits(range(2000), last, 10).unsqueeze(1)
    assert 50 <= within.sum(1).float().mean() <= 200  # of 1,950, where 50 of a class are wanted
    monkeypatch.setattr(gallery, "SAMPLE_SIZE", 1)  # from which nothing is guessed
    torch.testing.assert_close(search_values(embeddings, labels), spared)


@pytest.mark.parametrize("num_same", [1, 2, 7, 40])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.2, 3.0])
def test_scores_of_an_image_are_those_of_all_distances_in_order_where_same_class_images_lose_ties(
    num_same: int, shift: float
) -> None:
    generator = np.random.default_rng(num_same)
    for num_others in (0, 1, 5, 300):
        same = generator.integers(0, 30, num_same).astype(np.float32)
        others = (generator.integers(0, 30, num_others) + round(30 * shift)).astype(np.float32)
        line = sorted([(distance, 1) for distance in same] + [(distance, 0) for distance in others])
        ranks = [rank for rank, (_, is_same) in enumerate(line, start=1) if is_same]
        relevant = [rank for rank in ranks if rank <= num_same]
        precision = sum(place / rank for place, rank in enumerate(relevant, start=1))
        expected = [float(ranks[0] <= 1), float(ranks[0] <= 5), len(relevant) / num_same, precision / num_same]
        nearer = others[others <= same.max()]
        assert retrieval._score(np.append(same, -np.inf), nearer, num_same, (1, 5)) == pytest.approx(expected)


def test_everything_is_found_where_there_is_no_other_class() -> None:
    embeddings = torch.randint(0, 3, (9, 2), generator=torch.Generator().manual_seed(0)).float()
    assert all((found == 1).all() for found in search_values(embeddings, torch.zeros(9, dtype=torch.int64)).values())


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
def test_nothing_is_found_by_embeddings_that_are_no_numbers(wrong: float) -> None:
    embeddings, labels = torch.full((12, 4), wrong), torch.arange(12) % 3
    for found in search_values(embeddings, labels).values():
        assert (found == 0).all()
    embeddings = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    embeddings[5, 2] = wrong
    assert all((found[5] == 0).all() for found in search_values(embeddings, labels).values())


@pytest.mark.parametrize("scale", [1e19, 4e18, 1e25])
def test_embeddings_whose_distances_overflow_score_between_zero_and_one(scale: float) -> None:
    lengths = torch.tensor([[1.5], [-1.5], [1.4], [-1.4], [0.0], [1.0]])
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    for seed in SEEDS:
        embeddings, others = _random(seed)
        for points, classes in (
            (scale * lengths, labels),
            (embeddings * torch.where(others == 1, scale, 1.0)[:, None], others),
        ):
            for found in search_values(points, classes).values():
                assert ((found >= 0) & (found <= 1) | found.isnan()).all()
    assert not torch.stack(list(search_values(1e25 * lengths, labels).values())).any()


def test_without_depths_the_other_scores_are_the_same() -> None:
    labels = torch.arange(2000) % 40
    embeddings = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    without, expected = search_values(embeddings, labels, ()), search_values(embeddings, labels)
    assert list(without) == ["r_precision", "map@r"]
    assert all(torch.equal(without[name], expected[name]) for name in without)


def test_distances_are_those_of_all_pairs_and_farther_within_a_class_by_what_rounding_can_hide() -> None:
    embeddings, labels = _random(4)
    order, queries = labels.argsort(), range(20, 40)
    of, labels = gallery.Gallery(embeddings[order], labels[order], 10**9), labels[order]
    expected = torch.cdist(embeddings[order], embeddings[order], compute_mode="donot_use_mm_for_euclid_dist").square()
    is_same = labels.unsqueeze(1) == labels
    others = torch.cat(list(of.others(queries)), 1)
    torch.testing.assert_close(others, expected.masked_fill(is_same, torch.inf)[20:40], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(of.others_of(30), others[10], rtol=1e-4, atol=1e-4)
    same = torch.cat([part.flatten() for part in of.same(queries)])
    expected.fill_diagonal_(-torch.inf)
    torch.testing.assert_close(same, expected[20:40][is_same[20:40]], rtol=1e-4, atol=1e-4)
    at_a_point = gallery.Gallery(torch.zeros(6, 3), torch.arange(6) // 3, 10**9)
    assert (next(at_a_point.others(range(3)))[:, 3:] == 0).all()
    assert (next(at_a_point.same(range(3))).fill_diagonal_(1.0) > 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_order_position_and_rotation_of_the_embeddings_do_not_matter(seed: int) -> None:
    embeddings, labels = _random(seed)
    generator = torch.Generator().manual_seed(10 + seed)
    order = torch.randperm(len(labels), generator=generator)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    moved = (embeddings @ rotation)[order] + torch.tensor([100.0, -50.0, 0.0, 3.0])
    for score in (recall_at_1, map_at_r):
        torch.testing.assert_close(score(moved, labels[order]), score(embeddings, labels))
    queries = nearest_neighbor_accuracy(moved, labels[order], moved[:30], labels[order][:30])
    torch.testing.assert_close(
        queries, nearest_neighbor_accuracy(embeddings, labels, embeddings[order[:30]], labels[order[:30]])
    )


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_embeddings_does_not_matter(scale: float) -> None:
    embeddings, labels = _random(2)
    for score in (recall_at_1, map_at_r):
        torch.testing.assert_close(score(scale * embeddings, labels), score(embeddings, labels))


def _scores(embeddings: Tensor, labels: Tensor) -> list[float]:
    gallery = nearest_neighbor_accuracy(embeddings[::2], labels[::2], embeddings[1::2], labels[1::2])
    return [recall_at_1(embeddings, labels).item(), map_at_r(embeddings, labels).item(), gallery.item()]


@pytest.mark.parametrize("norm", [1e-3, 1.0, 1000.0])
@pytest.mark.parametrize(("size", "dimensions"), [(90, 3), (303, 64), (1002, 128), (90, 2048)])
def test_embeddings_collapsed_to_one_point_anywhere_score_zero(size: int, dimensions: int, norm: float) -> None:
    point = torch.randn(dimensions, generator=torch.Generator().manual_seed(dimensions))
    collapsed = (norm * point / point.norm()).repeat(size, 1)
    assert _scores(collapsed, torch.arange(size) % 3) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("point", [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [600.0, 0.0, 800.0]], ids=["zero", "unit", "far"])
def test_embeddings_collapsed_to_a_point_that_is_exactly_their_mean_score_zero(point: list[float]) -> None:
    assert _scores(torch.tensor(point).repeat(64, 1), torch.arange(64) % 3) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("distance", [1.0, 1000.0])
def test_embeddings_collapsed_to_two_points_with_all_classes_in_both_score_zero(distance: float) -> None:
    points = torch.randn(2, 16, generator=torch.Generator().manual_seed(4)) * distance
    collapsed = points[torch.arange(120) % 2]
    assert _scores(collapsed, torch.arange(120) // 4 % 3) == [0.0, 0.0, 0.0]


def test_classes_collapsed_to_a_point_each_score_one() -> None:
    labels = torch.arange(60) // 2 % 5
    points = torch.randn(5, 16, generator=torch.Generator().manual_seed(5))
    assert _scores(points[labels], labels) == [1.0, 1.0, 1.0]


def test_an_image_alone_in_its_class_asks_for_nothing_but_can_be_found() -> None:
    points = torch.tensor([[0.0], [1.0], [3.5], [2.4], [9.0], [9.5]])
    labels = torch.tensor([0, 0, 0, 7, 1, 1])
    # The image of class 7 is no query, but stands between the first three: it comes second, second and first.
    assert recall_at_1(points, labels).item() == pytest.approx(4 / 5)
    assert map_at_r(points, labels).item() == pytest.approx((1 / 2 + 1 / 2 + (0 + 1 / 2) / 2 + 1 + 1) / 5)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_without_two_images_of_one_class_there_is_no_score(size: int) -> None:
    embeddings = torch.randn(size, 3, generator=torch.Generator().manual_seed(6))
    assert recall_at_1(embeddings, torch.arange(size)).isnan()
    assert map_at_r(embeddings, torch.arange(size)).isnan()


def test_scoring_leaves_embeddings_and_labels_as_they_are() -> None:
    embeddings, labels = _random(3)
    copies = embeddings.clone(), labels.clone()
    _scores(embeddings, labels)
    assert torch.equal(embeddings, copies[0])
    assert torch.equal(labels, copies[1])
