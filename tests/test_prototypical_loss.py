import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from lab.losses import PrototypicalLoss
from lab.losses.prototypical import rank_in_class

SHOTS = [1, 2, 3]
LABEL_SETS = {
    "as many of each": [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2],
    "class by class": [5, 5, 5, 5, 0, 0, 0, 0, 3, 3, 3, 3],
    "mixed, with an image alone": [3, 1, 3, 3, 0, 1, 1, 3, 1, 3],
    "any integers": [-7, 100, 100, -7, 5, -7, 100, 5, 100, 5, 5],
}

every_number_of_shots = pytest.mark.parametrize("num_shots", SHOTS)
every_label_set = pytest.mark.parametrize("name", LABEL_SETS)


def _batch(name: str, seed: int = 0, dimensions: int = 4) -> tuple[Tensor, Tensor]:
    """Return embeddings in float64 and labels."""
    labels = torch.tensor(LABEL_SETS[name])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(labels), dimensions, generator=generator, dtype=torch.float64), labels


def _ranks_by_loop(labels: list[int]) -> list[int]:
    seen: Counter[int] = Counter()
    ranks = []
    for label in labels:
        ranks.append(seen[label])
        seen[label] += 1
    return ranks


def _prototypes_by_loop(rows: list[list[float]], labels: list[int], num_shots: int) -> dict[int, list[float]]:
    support = {k: [row for row, label in zip(rows, labels, strict=True) if label == k][:num_shots] for k in set(labels)}
    return {k: [sum(column) / len(some) for column in zip(*some, strict=True)] for k, some in support.items()}


def _loss_by_loop(embeddings: Tensor, labels: Tensor, num_shots: int) -> float:
    rows, names = embeddings.tolist(), labels.tolist()
    prototypes = _prototypes_by_loop(rows, names, num_shots)
    losses = []
    for row, name, rank in zip(rows, names, _ranks_by_loop(names), strict=True):
        if rank >= num_shots:
            scores = {k: math.exp(-sum((a - b) ** 2 for a, b in zip(row, c, strict=True))) for k, c in prototypes.items()}
            losses.append(-math.log(scores[name] / sum(scores.values())))
    return sum(losses) / len(losses)


def _gradient(loss: PrototypicalLoss, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf, labels)
    assert value.requires_grad
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def _is_query(labels: Tensor, num_shots: int) -> Tensor:
    return torch.tensor(_ranks_by_loop(labels.tolist())) >= num_shots


@every_label_set
@every_number_of_shots
def test_the_loss_is_that_of_a_loop_over_queries_and_prototypes(name: str, num_shots: int) -> None:
    for seed in range(3):
        embeddings, labels = _batch(name, seed)
        loss = PrototypicalLoss(num_shots)(embeddings, labels)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(_loss_by_loop(embeddings, labels, num_shots), rel=1e-9)
        assert loss.item() > 0


@every_label_set
@every_number_of_shots
def test_the_loss_is_that_of_pytorch_metric_learning_with_the_prototypes_as_the_only_neighbours(
    name: str, num_shots: int
) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    embeddings, labels = _batch(name)
    is_query = _is_query(labels, num_shots)
    prototypes = _prototypes_by_loop(embeddings.tolist(), labels.tolist(), num_shots)
    reference = losses.NCALoss(distance=distances.LpDistance(normalize_embeddings=False, power=2))
    expected = reference(
        embeddings[is_query],
        labels[is_query],
        ref_emb=torch.tensor(list(prototypes.values()), dtype=torch.float64),
        ref_labels=torch.tensor(list(prototypes)),
    )
    torch.testing.assert_close(PrototypicalLoss(num_shots)(embeddings, labels), expected)


@every_label_set
def test_images_are_numbered_within_their_class_in_the_order_of_the_batch(name: str) -> None:
    for dtype in (torch.int64, torch.int32):
        ranks = rank_in_class(torch.tensor(LABEL_SETS[name], dtype=dtype))
        assert ranks.dtype == torch.int64
        assert ranks.tolist() == _ranks_by_loop(LABEL_SETS[name])
    many = torch.randint(3, (1000,), generator=torch.Generator().manual_seed(5))
    assert rank_in_class(many).tolist() == _ranks_by_loop(many.tolist())
    assert rank_in_class(torch.empty(0, dtype=torch.int64)).tolist() == []
    assert rank_in_class(torch.tensor([4])).tolist() == [0]


@every_label_set
@every_number_of_shots
def test_the_names_of_the_classes_do_not_matter(name: str, num_shots: int) -> None:
    embeddings, labels = _batch(name)
    loss = PrototypicalLoss(num_shots)
    torch.testing.assert_close(_gradient(loss, embeddings, 100 - 7 * labels), _gradient(loss, embeddings, labels))


@every_number_of_shots
def test_the_order_of_the_batch_matters_only_by_which_images_come_first_of_their_class(num_shots: int) -> None:
    embeddings, labels = _batch("mixed, with an image alone")
    loss = PrototypicalLoss(num_shots)
    is_query = _is_query(labels, num_shots)
    support, queries = (~is_query).nonzero().flatten(), is_query.nonzero().flatten()
    for order in (
        torch.cat([support, queries]),
        torch.cat([support.flip(0), queries.flip(0)]),
        torch.argsort(labels, stable=True),
    ):
        torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))
    assert not torch.isclose(loss(embeddings.flip(0), labels.flip(0)), loss(embeddings, labels))


@every_label_set
@every_number_of_shots
def test_moving_and_turning_all_embeddings_does_not_change_the_loss(name: str, num_shots: int) -> None:
    embeddings, labels = _batch(name)
    matrix = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = embeddings @ torch.linalg.qr(matrix).Q + torch.arange(1.0, 5.0, dtype=torch.float64)
    loss = PrototypicalLoss(num_shots)
    torch.testing.assert_close(loss(moved, labels), loss(embeddings, labels))


def test_small_distances_far_from_the_origin_are_kept_in_float32() -> None:
    labels = torch.tensor(LABEL_SETS["as many of each"])
    embeddings = torch.randint(-8, 9, (len(labels), 4), generator=torch.Generator().manual_seed(2)) / 16.0
    loss = PrototypicalLoss(2)
    torch.testing.assert_close(loss(embeddings + 512.0, labels), loss(embeddings, labels), rtol=1e-6, atol=0)


def test_equal_prototypes_make_every_query_a_guess() -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    embeddings = torch.zeros(8, 3)
    embeddings[4:] = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    assert PrototypicalLoss()(embeddings, labels).item() == pytest.approx(math.log(4))


def test_classes_far_apart_cost_nothing() -> None:
    labels = torch.tensor(LABEL_SETS["as many of each"])
    value, gradient = _gradient(PrototypicalLoss(2), 1e3 * torch.eye(3)[labels], labels)
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_query_is_pulled_to_its_prototype_and_prototypes_follow_their_queries() -> None:
    embeddings = torch.tensor([[-1.0], [1.0], [-0.5], [0.5]])
    _, gradient = _gradient(PrototypicalLoss(), embeddings, torch.tensor([0, 1, 0, 1]))
    assert gradient[2] > 0  # so that a step moves it left, to -1
    assert gradient[3] < 0
    torch.testing.assert_close(gradient.sum(), torch.tensor(0.0))


@every_label_set
@every_number_of_shots
def test_the_gradient_is_that_of_finite_differences(name: str, num_shots: int) -> None:
    embeddings, labels = _batch(name)
    assert torch.autograd.gradcheck(lambda x: PrototypicalLoss(num_shots)(x, labels), embeddings.requires_grad_())


@every_label_set
@every_number_of_shots
@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_the_gradient_is_zero_where_all_embeddings_are_equal(name: str, num_shots: int, fill: float) -> None:
    embeddings, labels = _batch(name)
    value, gradient = _gradient(PrototypicalLoss(num_shots), torch.full_like(embeddings, fill).float(), labels)
    assert value.item() == pytest.approx(math.log(len(labels.unique())))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_the_gradient_is_finite_where_a_query_is_equal_to_a_prototype() -> None:
    embeddings, labels = _batch("as many of each")
    embeddings[3] = embeddings[0]  # its own
    embeddings[4] = embeddings[2]  # of another class
    value, gradient = _gradient(PrototypicalLoss(), embeddings.float(), labels)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient[4].abs().sum() > 0


@pytest.mark.parametrize(
    ("labels", "num_shots"),
    [([0, 1, 2, 3], 1), ([0, 0, 1, 1, 1], 3), ([2], 1), ([4, 4, 4, 4], 1), ([4, 4, 4, 4], 4), ([], 1)],
    ids=["all distinct", "all support", "one image", "one class", "one class, all support", "no image"],
)
def test_a_batch_with_nothing_to_ask_gives_a_zero_that_backward_goes_through(labels: list[int], num_shots: int) -> None:
    embeddings = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(4))
    value, gradient = _gradient(PrototypicalLoss(num_shots), embeddings, torch.tensor(labels, dtype=torch.int64))
    assert value.shape == ()
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(embeddings))


@every_label_set
@every_number_of_shots
def test_under_bfloat16_autocast_the_loss_is_computed_in_float32(name: str, num_shots: int) -> None:
    embeddings, labels = _batch(name)
    loss = PrototypicalLoss(num_shots)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = embeddings.float() @ torch.eye(4)
        assert encoded.dtype == torch.bfloat16
        from_bfloat16, from_float32 = loss(encoded, labels), loss(embeddings.float(), labels)
    assert from_bfloat16.dtype == from_float32.dtype == torch.float32
    assert torch.equal(from_bfloat16, loss(encoded.float(), labels))
    assert torch.equal(from_float32, loss(embeddings.float(), labels))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 0]], ids=["queries", "no query", "one class"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_loss_has_the_precision_of_the_embeddings_but_at_least_float32(dtype: torch.dtype, labels: list[int]) -> None:
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert PrototypicalLoss()(torch.ones(4, 2, dtype=dtype), torch.tensor(labels)).dtype == expected


@pytest.mark.parametrize("num_shots", [0, -1])
def test_prototypes_of_no_image_are_refused(num_shots: int) -> None:
    with pytest.raises(ValueError, match=f"PrototypicalLoss: num_shots must be 1 or more, not {num_shots}"):
        PrototypicalLoss(num_shots)


def test_the_number_of_shots_is_kept_under_its_name() -> None:
    assert PrototypicalLoss().num_shots == 1
    assert PrototypicalLoss(5).num_shots == 5
    assert list(PrototypicalLoss().parameters()) == []
