import math
from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from lab.losses import TripletLoss
from lab.losses.distances import pairwise_distances

Distance = Literal["euclidean", "cosine"]
Mining = Literal["batch_hard", "semi_hard", "all"]
Margin = float | Literal["soft"]
Reduction = Literal["mean", "mean_nonzero"]

DISTANCES: list[Distance] = ["euclidean", "cosine"]
REDUCTIONS: list[Reduction] = ["mean", "mean_nonzero"]
OBJECTIVES: list[tuple[Mining, Margin]] = [
    ("batch_hard", 0.3),
    ("batch_hard", "soft"),
    ("semi_hard", 0.3),
    ("all", 0.3),
    ("all", "soft"),
]

every_distance = pytest.mark.parametrize("distance", DISTANCES)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
every_objective = pytest.mark.parametrize(("mining", "margin"), OBJECTIVES)


def _batch(seed: int, size: int = 12, num_classes: int = 4, dimensions: int = 5) -> tuple[Tensor, Tensor]:
    """Return embeddings in float64 and labels, of which one class has a single image."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, dimensions, generator=generator, dtype=torch.float64)
    labels = torch.arange(size) % num_classes
    labels[0] = num_classes
    return embeddings, labels[torch.randperm(size, generator=generator)]


def _distance_by_loop(x: list[float], y: list[float], distance: Distance) -> float:
    if distance == "euclidean":
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def _gaps_by_loop(d: list[list[float]], labels: list[int], mining: Mining, margin: Margin) -> list[float]:
    """Return d(anchor, positive) - d(anchor, negative) of each mined triplet."""
    size = range(len(labels))
    positives = [[p for p in size if p != a and labels[p] == labels[a]] for a in size]
    negatives = [[n for n in size if labels[n] != labels[a]] for a in size]
    if mining == "batch_hard":
        anchors = [a for a in size if positives[a] and negatives[a]]
        return [max(d[a][p] for p in positives[a]) - min(d[a][n] for n in negatives[a]) for a in anchors]
    gaps = [d[a][p] - d[a][n] for a in size for p, n in product(positives[a], negatives[a])]
    if mining == "semi_hard":
        assert not isinstance(margin, str)
        return [gap for gap in gaps if -margin < gap < 0]
    return gaps


def _loss_by_loop(
    embeddings: Tensor, labels: Tensor, distance: Distance, mining: Mining, margin: Margin, reduction: Reduction
) -> float:
    rows = embeddings.tolist()
    distances = [[_distance_by_loop(x, y, distance) for y in rows] for x in rows]
    losses = [
        math.log1p(math.exp(gap)) if isinstance(margin, str) else max(0.0, margin + gap)
        for gap in _gaps_by_loop(distances, labels.tolist(), mining, margin)
    ]
    count = sum(loss > 0 for loss in losses) if reduction == "mean_nonzero" else len(losses)
    return sum(losses) / count if count else 0.0


@every_distance
def test_distances_are_those_of_a_loop_over_all_pairs(distance: Distance) -> None:
    embeddings, _ = _batch(0)
    rows = embeddings.tolist()
    expected = [[_distance_by_loop(x, y, distance) for y in rows] for x in rows]
    torch.testing.assert_close(pairwise_distances(embeddings, distance), torch.tensor(expected, dtype=torch.float64))


def test_small_euclidean_distances_far_from_the_origin_are_kept_in_float32() -> None:
    x = torch.full((40, 16), 100.0)
    x[1:, 0] += 2.0 ** -torch.arange(39).clamp(max=10)  # exact in float32
    expected = (x[:, 0].unsqueeze(0) - x[:, 0].unsqueeze(1)).abs()
    torch.testing.assert_close(pairwise_distances(x, "euclidean"), expected, rtol=1e-6, atol=0)


@every_objective
@every_distance
@every_reduction
def test_the_loss_is_that_of_a_loop_over_all_triplets(
    distance: Distance, mining: Mining, margin: Margin, reduction: Reduction
) -> None:
    for seed in range(3):
        embeddings, labels = _batch(seed)
        loss = TripletLoss(distance, mining, margin, reduction)(embeddings, labels)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(_loss_by_loop(embeddings, labels, distance, mining, margin, reduction), rel=1e-9)
        assert loss.item() > 0


@every_objective
@every_distance
@every_reduction
def test_the_loss_is_that_of_pytorch_metric_learning(
    distance: Distance, mining: Mining, margin: Margin, reduction: Reduction
) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    same_distance = {"cosine": distances.CosineSimilarity(), "euclidean": distances.LpDistance(normalize_embeddings=False)}[
        distance
    ]
    miner: Callable[[Tensor, Tensor], Any] | None = {
        "batch_hard": miners.BatchHardMiner(distance=same_distance),
        "semi_hard": miners.TripletMarginMiner(
            margin=0.0 if isinstance(margin, str) else margin, type_of_triplets="semihard", distance=same_distance
        ),
        "all": None,
    }[mining]
    reference = losses.TripletMarginLoss(
        margin=0.0 if isinstance(margin, str) else margin,
        smooth_loss=isinstance(margin, str),
        distance=same_distance,
        reducer=reducers.MeanReducer() if reduction == "mean" else reducers.AvgNonZeroReducer(),
    )
    for seed in range(3):
        embeddings, labels = _batch(seed, size=16)
        expected = reference(embeddings, labels, miner(embeddings, labels) if miner else None)
        torch.testing.assert_close(TripletLoss(distance, mining, margin, reduction)(embeddings, labels), expected)


@every_objective
@every_distance
@every_reduction
def test_the_order_of_the_batch_and_the_names_of_the_classes_do_not_matter(
    distance: Distance, mining: Mining, margin: Margin, reduction: Reduction
) -> None:
    embeddings, labels = _batch(1)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    loss = TripletLoss(distance, mining, margin, reduction)
    torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))
    torch.testing.assert_close(loss(embeddings, 100 - 7 * labels), loss(embeddings, labels))


def _rotation(dimensions: int) -> Tensor:
    matrix = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rotation: Tensor = torch.linalg.qr(matrix).Q
    return rotation


@every_objective
def test_moving_and_turning_all_embeddings_does_not_change_the_euclidean_loss(mining: Mining, margin: Margin) -> None:
    embeddings, labels = _batch(2)
    loss = TripletLoss("euclidean", mining, margin)
    moved = embeddings @ _rotation(embeddings.shape[1]) + torch.arange(1.0, 6.0, dtype=torch.float64)
    torch.testing.assert_close(loss(moved, labels), loss(embeddings, labels))


@every_objective
def test_turning_all_and_scaling_each_embedding_does_not_change_the_cosine_loss(mining: Mining, margin: Margin) -> None:
    embeddings, labels = _batch(3)
    loss = TripletLoss("cosine", mining, margin)
    scales = 10 ** torch.empty(len(labels), 1, dtype=torch.float64).uniform_(-3, 3, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(loss(scales * embeddings @ _rotation(embeddings.shape[1]), labels), loss(embeddings, labels))


@every_objective
@every_distance
@every_reduction
def test_the_gradient_is_that_of_finite_differences(
    distance: Distance, mining: Mining, margin: Margin, reduction: Reduction
) -> None:
    embeddings, labels = _batch(4, size=9, num_classes=3, dimensions=3)
    loss = TripletLoss(distance, mining, margin, reduction)
    assert loss(embeddings, labels) > 0
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), embeddings.requires_grad_())


def _gradient(loss: TripletLoss, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@every_objective
@every_distance
@every_reduction
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_the_gradient_is_finite_where_all_embeddings_are_equal(
    distance: Distance, mining: Mining, margin: Margin, reduction: Reduction, fill: float
) -> None:
    value, gradient = _gradient(
        TripletLoss(distance, mining, margin, reduction), torch.full((6, 4), fill), torch.tensor([0, 0, 1, 1, 2, 2])
    )
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_objective
@every_distance
@pytest.mark.parametrize("twin", ["of the same class", "of another class"])
def test_the_gradient_is_finite_where_two_embeddings_are_equal(
    distance: Distance, mining: Mining, margin: Margin, twin: str
) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    embeddings = torch.randn(6, 4, generator=torch.Generator().manual_seed(5))
    embeddings[1 if twin == "of the same class" else 2] = embeddings[0]
    value, gradient = _gradient(TripletLoss(distance, mining, margin), embeddings, labels)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_distance
@pytest.mark.parametrize("mining", ["batch_hard", "all"])
@pytest.mark.parametrize(("margin", "expected"), [(0.3, 0.3), ("soft", math.log(2))])
def test_a_collapsed_embedding_costs_the_margin(distance: Distance, mining: Mining, margin: Margin, expected: float) -> None:
    loss = TripletLoss(distance, mining, margin)(torch.full((6, 4), 0.7), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@every_objective
@every_distance
@every_reduction
@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0, 1, 2, 3], [0]], ids=["one class", "all distinct", "one image"])
def test_a_batch_without_a_triplet_gives_a_zero_that_backward_goes_through(
    distance: Distance, mining: Mining, margin: Margin, reduction: Reduction, labels: list[int]
) -> None:
    embeddings = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(6))
    value, gradient = _gradient(TripletLoss(distance, mining, margin, reduction), embeddings, torch.tensor(labels))
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(embeddings))


@pytest.mark.parametrize("mining", ["batch_hard", "semi_hard", "all"])
@every_reduction
def test_triplets_that_keep_the_margin_cost_nothing(mining: Mining, reduction: Reduction) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 0.1], [9.0, 0.0], [9.0, 0.1]])
    value, gradient = _gradient(TripletLoss("euclidean", mining, 1.0, reduction), embeddings, labels)
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(embeddings))


@every_objective
@every_distance
def test_under_bfloat16_autocast_the_loss_is_computed_in_float32(distance: Distance, mining: Mining, margin: Margin) -> None:
    embeddings, labels = _batch(7)
    images, weight = embeddings.float(), torch.eye(embeddings.shape[1])
    loss = TripletLoss(distance, mining, margin)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = images @ weight
        assert encoded.dtype == torch.bfloat16
        from_bfloat16, from_float32 = loss(encoded, labels), loss(images, labels)
    assert from_bfloat16.dtype == from_float32.dtype == torch.float32
    assert torch.equal(from_bfloat16, loss(encoded.float(), labels))
    assert torch.equal(from_float32, loss(images, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_loss_has_the_precision_of_the_embeddings_but_at_least_float32(dtype: torch.dtype) -> None:
    embeddings, labels = _batch(8)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert TripletLoss()(embeddings.to(dtype), labels).dtype == expected


@pytest.mark.parametrize("margin", [0, 0.0, -0.5, math.nan, "hard"])
def test_a_margin_that_is_neither_positive_nor_soft_is_refused(margin: Any) -> None:
    with pytest.raises(ValueError, match=rf"margin.*{margin}"):
        TripletLoss(margin=margin)


def test_semi_hard_mining_without_a_margin_in_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"semi_hard.*margin"):
        TripletLoss(mining="semi_hard", margin="soft")


@pytest.mark.parametrize("argument", ["distance", "mining", "reduction"])
def test_an_unknown_choice_is_refused_by_the_name_of_its_argument(argument: str) -> None:
    choice: dict[str, Any] = {argument: "unknown"}
    with pytest.raises(ValueError, match=argument):
        TripletLoss(**choice)


def test_the_arguments_are_kept_under_their_names() -> None:
    loss = TripletLoss("cosine", "all", 0.7, "mean_nonzero")
    assert (loss.distance, loss.mining, loss.margin, loss.reduction) == ("cosine", "all", 0.7, "mean_nonzero")
    assert list(loss.parameters()) == []
