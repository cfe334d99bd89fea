from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor

from lab.losses.distances import pair_distances
from lab.losses.tuples import balanced_pairs
from lab.metrics import EmbeddingMetrics, Evaluation
from lab.metrics.one_shot import Tasks, draw_tasks, one_shot_hits
from lab.metrics.retrieval import nearest_neighbor_hits, search_values
from lab.metrics.verification import area_under_roc, equal_error_rate, error_rates

Distance = Literal["euclidean", "cosine"]
DISTANCES: list[Distance] = ["euclidean", "cosine"]
every_distance = pytest.mark.parametrize("distance", DISTANCES)


def _split(seed: int, size: int = 48, num_classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, (size,), generator=generator)
    centers = torch.randn(num_classes, 6, generator=generator)
    return centers[labels] + 0.7 * torch.randn(size, 6, generator=generator), labels


def _metrics(distance: Distance = "euclidean", num_pairs: int = 200) -> EmbeddingMetrics:
    pair_distance = partial(pair_distances, distance=distance)
    return EmbeddingMetrics(balanced_pairs, pair_distance, distance, Evaluation(num_pairs=num_pairs))


def _scores(
    embeddings: Tensor,
    labels: Tensor,
    distance: Distance = "euclidean",
    sizes: list[int] | None = None,
    gallery: tuple[Tensor, Tensor] | None = None,
    num_pairs: int = 200,
) -> dict[str, Tensor]:
    metrics = EmbeddingMetrics(
        balanced_pairs, partial(pair_distances, distance=distance), distance, Evaluation(num_pairs=num_pairs)
    )
    metrics.calibrating = True
    sizes = sizes or [len(labels)]
    for some_embeddings, some_labels in zip(embeddings.split(sizes), labels.split(sizes), strict=True):
        metrics.update(some_embeddings, some_labels)
    if gallery is not None:
        metrics.update(*gallery, part="gallery")
    scores: dict[str, Tensor] = metrics.compute()
    return scores


@every_distance
@pytest.mark.parametrize("sizes", [[24, 24], [1, 46, 1], [5, 13, 30], [1] * 48])
def test_batches_of_any_sizes_score_as_one_batch(distance: Distance, sizes: list[int]) -> None:
    embeddings, labels = _split(0)
    assert _scores(embeddings, labels, distance, sizes) == _scores(embeddings, labels, distance)


def test_each_score_is_that_of_its_function_on_all_embeddings_and_on_pairs_drawn_from_them() -> None:
    embeddings, labels = _split(1)
    gallery, gallery_labels = _split(2, size=20)
    first, second, same = balanced_pairs(labels, 200, torch.Generator().manual_seed(0))
    distances = torch.tensor(
        [(embeddings[i] - embeddings[j]).square().sum().sqrt() for i, j in zip(first, second, strict=True)]
    )
    tasks = draw_tasks(labels, 20, 1, 100, torch.Generator().manual_seed(0))
    assert tasks is not None
    torch.testing.assert_close(
        _scores(embeddings, labels, gallery=(gallery, gallery_labels)),
        {
            "recall@1": search_values(embeddings, labels)["recall@1"].nanmean(),
            "map@r": search_values(embeddings, labels)["map@r"].nanmean(),
            "auc": area_under_roc(error_rates(distances, same)).float(),
            "eer": equal_error_rate(error_rates(distances, same)).float(),
            "pair_accuracy": max(((distances <= t) == same).float().mean() for t in distances),
            "nearest_neighbor_accuracy": nearest_neighbor_hits(embeddings, labels, gallery, gallery_labels).float().mean(),
            "one_shot_accuracy": one_shot_hits(embeddings, tasks, "euclidean").float().mean(),
        },
    )


def test_the_pairs_are_the_same_each_time() -> None:
    embeddings, labels = _split(3)
    assert _scores(embeddings, labels, num_pairs=100) == _scores(embeddings, labels, num_pairs=100)


def test_where_every_pair_is_drawn_the_order_of_the_images_does_not_matter() -> None:
    embeddings, _ = _split(4, size=16)
    labels = (torch.arange(16) < 6).long()  # 45 + 15 pairs of one class and 6 * 10 of both
    order = torch.randperm(16, generator=torch.Generator().manual_seed(5))
    moved, at_rest = _scores(embeddings[order], labels[order]), _scores(embeddings, labels)
    assert moved.pop("one_shot_accuracy") != 0  # of tasks that are drawn, not all there are
    at_rest.pop("one_shot_accuracy")
    torch.testing.assert_close(moved, at_rest)


@every_distance
def test_reset_forgets_all_that_was_seen(distance: Distance) -> None:
    metrics = _metrics(distance)
    metrics.calibrating = True
    metrics.update(*_split(5))
    metrics.update(*_split(6, size=9), part="gallery")
    assert "nearest_neighbor_accuracy" in metrics.compute()
    metrics.reset()
    metrics.update(*_split(7))
    assert metrics.compute() == _scores(*_split(7), distance)


def test_cosine_scores_are_euclidean_scores_of_the_normalized_embeddings() -> None:
    embeddings, labels = _split(8)
    gallery, gallery_labels = _split(9, size=20)
    cosine = _scores(embeddings, labels, "cosine", gallery=(gallery, gallery_labels))
    unit, unit_gallery = (x / x.norm(dim=1, keepdim=True) for x in (embeddings, gallery))
    torch.testing.assert_close(cosine, _scores(unit, labels, "euclidean", gallery=(unit_gallery, gallery_labels)))
    assert cosine != _scores(embeddings, labels, "euclidean", gallery=(gallery, gallery_labels))


def test_scaling_each_embedding_does_not_change_cosine_scores() -> None:
    embeddings, labels = _split(10)
    scales = 10 ** torch.empty(len(labels), 1).uniform_(-3, 3, generator=torch.Generator().manual_seed(11))
    torch.testing.assert_close(_scores(scales * embeddings, labels, "cosine"), _scores(embeddings, labels, "cosine"))


def test_moving_all_embeddings_does_not_change_euclidean_scores() -> None:
    embeddings, labels = _split(12)
    torch.testing.assert_close(_scores(embeddings + 7.0, labels), _scores(embeddings, labels))


@every_distance
def test_a_gallery_is_looked_up_in_and_changes_no_other_score(distance: Distance) -> None:
    embeddings, labels = _split(13)
    without = _scores(embeddings, labels, distance)
    found = _scores(embeddings, labels, distance, gallery=(2 * embeddings if distance == "cosine" else embeddings, labels))
    assert "nearest_neighbor_accuracy" not in without
    assert found.pop("nearest_neighbor_accuracy") == 1
    assert found == without


def test_separate_classes_score_perfectly() -> None:
    labels = torch.arange(30) % 3
    scores = _scores(torch.eye(3)[labels], labels, gallery=(torch.eye(3), torch.arange(3)))
    assert scores == {
        "recall@1": 1,
        "map@r": 1,
        "auc": 1,
        "eer": 0,
        "pair_accuracy": 1,
        "nearest_neighbor_accuracy": 1,
        "one_shot_accuracy": 1,
    }


def test_what_a_split_cannot_have_is_not_a_number() -> None:
    embeddings, _ = _split(14, size=6)
    one_class = _scores(embeddings, torch.zeros(6, dtype=torch.int64))
    assert one_class["recall@1"] == one_class["map@r"] == 1
    assert one_class["auc"].isnan()
    assert one_class["eer"].isnan()
    assert all(score.isnan() for score in _scores(embeddings, torch.arange(6)).values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_distance
def test_embeddings_of_low_precision_are_scored_in_float32(dtype: torch.dtype, distance: Distance) -> None:
    embeddings, labels = _split(15)
    low = embeddings.to(dtype)
    assert _scores(low, labels, distance) == _scores(low.float(), labels, distance)


@every_distance
def test_scores_are_scalars_between_zero_and_one_without_a_graph(distance: Distance) -> None:
    embeddings, labels = _split(16)
    for score in _scores(embeddings.requires_grad_(), labels, distance).values():
        assert score.shape == ()
        assert 0 <= score <= 1
        assert not score.requires_grad


def test_merged_metrics_score_what_both_have_seen() -> None:
    embeddings, labels = _split(17)
    parts = [_metrics() for _ in range(2)]
    parts[0].calibrating = True
    parts[0].update(embeddings[:30], labels[:30])
    parts[1].update(embeddings[30:], labels[30:])
    parts[0].merge_state(parts[1])
    merged = parts[0].compute()
    in_one = _scores(embeddings, labels)
    # The pairs depend on the order of the images, which merging does not promise.
    assert merged["recall@1"] == in_one["recall@1"]
    torch.testing.assert_close(merged["map@r"], in_one["map@r"])


def test_an_unknown_distance_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="distance"):
        EmbeddingMetrics(balanced_pairs, partial(pair_distances, distance="euclidean"), "manhattan")  # type: ignore[arg-type]


def test_an_epoch_searches_among_some_images_and_a_test_among_all() -> None:
    embeddings, labels = _split(9, size=200)
    metrics = EmbeddingMetrics(
        balanced_pairs, partial(pair_distances, distance="euclidean"), "euclidean", Evaluation(num_searched=150)
    )
    metrics.update(embeddings, labels)
    some = torch.randperm(200, generator=torch.Generator().manual_seed(0))[:150]
    expected = search_values(embeddings[some], labels[some])["map@r"].nanmean()
    assert metrics.compute()["map@r"] == expected
    metrics.reset()
    metrics.thorough = True
    metrics.update(embeddings, labels)
    of_all = search_values(embeddings, labels)["map@r"].nanmean()
    assert metrics.compute()["map@r"] == of_all != expected


def test_the_threshold_comes_from_the_validation_split_and_the_test_split_is_judged_by_it() -> None:
    metrics = EmbeddingMetrics(
        balanced_pairs, partial(pair_distances, distance="euclidean"), evaluation=Evaluation(num_pairs=200)
    )
    metrics.update(*_split(18))
    assert metrics.compute()["pair_accuracy"].isnan()  # nothing to judge by yet
    metrics.reset()
    metrics.calibrating = True
    metrics.update(*_split(19))
    metrics.compute()
    threshold = metrics.threshold.clone()
    metrics.reset()
    metrics.calibrating = False
    embeddings, labels = _split(20)
    metrics.update(3 * embeddings, labels)  # whose own best threshold is three times as far
    accuracy = metrics.compute()["pair_accuracy"]
    assert metrics.threshold == threshold
    first, second, same = balanced_pairs(labels, 200, torch.Generator().manual_seed(0))
    far = [float((3 * embeddings[i] - 3 * embeddings[j]).norm()) for i, j in zip(first, second, strict=True)]
    right = [(distance <= threshold.item()) == bool(is_same) for distance, is_same in zip(far, same, strict=True)]
    assert accuracy.item() == pytest.approx(sum(right) / len(right))
    assert accuracy < _scores(3 * embeddings, labels)["pair_accuracy"]


def test_a_learned_distance_has_no_search_scores() -> None:
    metrics = EmbeddingMetrics(balanced_pairs, lambda first, second: -(first * second).sum(1), None)
    metrics.update(*_split(21))
    assert metrics.parts == ("images", "trials")  # a gallery is not even embedded
    assert set(metrics.compute()) == {"auc", "eer", "pair_accuracy", "one_shot_accuracy"}


def test_the_threshold_is_kept_with_the_weights() -> None:
    metrics = EmbeddingMetrics(balanced_pairs, partial(pair_distances, distance="euclidean"))
    metrics.calibrating = True
    metrics.update(*_split(23))
    metrics.compute()
    again = EmbeddingMetrics(balanced_pairs, partial(pair_distances, distance="euclidean"))
    again.load_state_dict(metrics.state_dict())
    assert again.threshold == metrics.threshold


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_low_precision_keeps_what_was_calibrated_exactly(dtype: torch.dtype) -> None:
    metrics = _metrics()
    metrics.threshold.fill_(0.73456)
    metrics.slope.fill_(12345.678)
    metrics.offset.fill_(70001.0)
    parent = torch.nn.ModuleDict({"metrics": metrics, "layer": torch.nn.Linear(2, 2)}).to(dtype)
    assert parent["layer"].weight.dtype == dtype
    exactly = [torch.tensor(value) for value in (0.73456, 12345.678, 70001.0)]
    assert [metrics.threshold, metrics.slope, metrics.offset] == exactly


def test_official_trials_of_which_only_some_images_were_seen_are_not_scored() -> None:
    embeddings, labels = _split(24)
    for seen, scored in ((12, True), (5, False)):
        metrics = _metrics()
        metrics.trial_tasks = Tasks(torch.arange(6).view(2, 3, 1), torch.arange(6, 12).view(2, 3))
        metrics.update(embeddings, labels)
        metrics.update(embeddings[:seen], torch.arange(seen), part="trials")
        assert ("one_shot_trials" in metrics.compute()) == scored


@pytest.mark.parametrize("scale", [1e20, torch.inf, torch.nan])
def test_what_has_diverged_has_no_scores_and_calibrates_nothing(scale: float) -> None:
    embeddings, labels = _split(25)
    metrics = _metrics()
    metrics.calibrating = True
    metrics.update(scale * embeddings, labels)
    assert all(score.isnan() for score in metrics.compute().values())
    assert metrics.threshold.isnan()
