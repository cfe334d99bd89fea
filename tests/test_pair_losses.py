import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import pytest
import torch
from conftest import Script
from torch import Tensor, nn

from lab.losses import ContrastiveLoss, ExponentialLoss, PairCrossEntropy, PrototypicalLoss, SquaredError, TripletLoss
from lab.losses.distances import pair_distances, pairwise_distances
from lab.losses.inputs import Input, check_input
from lab.models import Triplet, load

Distance = Literal["euclidean", "cosine"]
DistanceLoss = ContrastiveLoss | ExponentialLoss
PairLoss = DistanceLoss | PairCrossEntropy

DISTANCES: list[Distance] = ["euclidean", "cosine"]
DISTANCE_LOSSES: list[DistanceLoss] = [
    ContrastiveLoss(),
    ContrastiveLoss(margin=2.5),
    ExponentialLoss(),
    ExponentialLoss(constant=3.0),
]
PAIR_LOSSES: list[PairLoss] = [*DISTANCE_LOSSES, PairCrossEntropy()]


def _name(loss: PairLoss) -> str:
    return type(loss).__name__ + "".join(
        f" {name} {value}" for name, value in vars(loss).items() if name in ("margin", "constant")
    )


every_distance = pytest.mark.parametrize("distance", DISTANCES)
every_distance_loss = pytest.mark.parametrize("loss", DISTANCE_LOSSES, ids=_name)
every_loss = pytest.mark.parametrize("loss", PAIR_LOSSES, ids=_name)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors take longer when threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _embeddings(seed: int, size: int = 12, num_classes: int = 3, dimensions: int = 5) -> tuple[Tensor, Tensor]:
    """Return embeddings in float64 and labels."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, dimensions, generator=generator, dtype=torch.float64)
    return embeddings, torch.arange(size) % num_classes


def _all_pairs(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second = (~torch.eye(len(labels), dtype=torch.bool)).nonzero(as_tuple=True)
    return first, second, (labels[first] == labels[second]).double()


def _pairs(loss: PairLoss, seed: int, size: int = 20) -> tuple[Tensor, Tensor]:
    """Return distances, or logits of either sign, in float64, and which of the pairs are of the same class."""
    generator = torch.Generator().manual_seed(seed)
    values = 2 * torch.randn(size, generator=generator, dtype=torch.float64)
    same = torch.randint(2, (size,), generator=generator).double()
    return values if loss.takes == "pair_logits" else values.abs(), same


def _of_embeddings(loss: PairLoss, first: Tensor, second: Tensor, same: Tensor, distance: Distance = "euclidean") -> Tensor:
    """Return the loss of pairs of embeddings, whose logits are the sum of their differences, as of a logistic head."""
    values = (first - second).abs().sum(1) if loss.takes == "pair_logits" else pair_distances(first, second, distance)
    value: Tensor = loss(values, same)
    return value


def _distance_by_loop(x: list[float], y: list[float], distance: Distance) -> float:
    if distance == "euclidean":
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def _loss_of_one_pair(loss: PairLoss, value: float, same: bool) -> float:
    if isinstance(loss, ContrastiveLoss):  # twice (1 - Y) / 2 * D ** 2 + Y / 2 * max(0, m - D) ** 2, Y being 0 for same
        return value**2 if same else max(0.0, loss.margin - value) ** 2
    if isinstance(loss, ExponentialLoss):  # (1 - Y) * 2 / Q * E ** 2 + Y * 2 * Q * exp(-2.77 / Q * E)
        return 2 / loss.constant * value**2 if same else 2 * loss.constant * math.exp(-2.77 / loss.constant * value)
    probability = 1 / (1 + math.exp(-value))
    return -math.log(probability if same else 1 - probability)


def _loss_by_loop(loss: PairLoss, values: Tensor, same: Tensor) -> float:
    losses = [_loss_of_one_pair(loss, value, kind == 1) for value, kind in zip(values.tolist(), same.tolist(), strict=True)]
    return sum(losses) / len(losses)


def _gradient(of: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    leaf = at.clone().requires_grad_()
    value = of(leaf)
    assert value.requires_grad
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


# Distances of pairs.


@every_distance
def test_the_distances_of_pairs_are_those_of_a_loop(distance: Distance) -> None:
    first, second = _embeddings(0)[0], _embeddings(1)[0]
    expected = [_distance_by_loop(x, y, distance) for x, y in zip(first.tolist(), second.tolist(), strict=True)]
    torch.testing.assert_close(pair_distances(first, second, distance), torch.tensor(expected, dtype=torch.float64))


@every_distance
def test_the_distances_of_pairs_are_those_of_pytorch_metric_learning(distance: Distance) -> None:
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    first, second = _embeddings(0)[0], _embeddings(1)[0]
    if distance == "euclidean":
        expected = distances.LpDistance(normalize_embeddings=False)(first, second).diagonal()
    else:
        expected = 1 - distances.CosineSimilarity()(first, second).diagonal()
    torch.testing.assert_close(pair_distances(first, second, distance), expected)


@every_distance
def test_the_distances_of_all_pairs_of_a_batch_are_those_of_each_to_each(distance: Distance) -> None:
    embeddings, labels = _embeddings(2)
    first, second, _ = _all_pairs(labels)
    expected = pairwise_distances(embeddings, distance)[first, second]
    torch.testing.assert_close(pair_distances(embeddings[first], embeddings[second], distance), expected)


@every_distance
def test_the_distance_of_a_pair_does_not_depend_on_which_of_it_is_first(distance: Distance) -> None:
    first, second = _embeddings(3)[0], _embeddings(4)[0]
    torch.testing.assert_close(pair_distances(second, first, distance), pair_distances(first, second, distance))


def test_small_distances_far_from_the_origin_are_kept_in_float32() -> None:
    offsets = 2.0 ** -torch.arange(11)  # exact in float32
    first, second = torch.full((11, 16), 100.0), torch.full((11, 16), 100.0)
    second[:, 3] += offsets
    assert torch.equal(pair_distances(first, second, "euclidean"), offsets)


@every_distance
def test_the_gradient_of_a_distance_is_that_of_finite_differences(distance: Distance) -> None:
    first, second = _embeddings(5, size=4)[0].requires_grad_(), _embeddings(6, size=4)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: pair_distances(x, y, distance), (first, second))


@every_distance
@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_the_gradient_of_the_distance_of_equal_embeddings_is_zero(distance: Distance, fill: float) -> None:
    other = torch.full((3, 4), fill)
    value, gradient = _gradient(lambda x: pair_distances(x, other, distance).sum(), other)
    assert value.isfinite()
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


# Losses of pairs.


@every_loss
def test_the_loss_is_that_of_a_loop_over_all_pairs(loss: PairLoss) -> None:
    for seed in range(3):
        values, same = _pairs(loss, seed)
        for kinds in (same, torch.ones_like(same), torch.zeros_like(same)):
            value = loss(values, kinds)
            assert value.shape == ()
            assert value.item() == pytest.approx(_loss_by_loop(loss, values, kinds), rel=1e-9)
            assert value.item() > 0


@every_distance
@pytest.mark.parametrize("margin", [0.8, 2.5])
def test_the_contrastive_loss_and_its_gradient_are_those_of_pytorch_metric_learning(distance: Distance, margin: float) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    # Its similarities are 1 - our distances, and so are its margins then.
    options = {
        "euclidean": {"pos_margin": 0, "neg_margin": margin, "distance": distances.LpDistance(normalize_embeddings=False)},
        "cosine": {"pos_margin": 1, "neg_margin": 1 - margin, "distance": distances.CosineSimilarity()},
    }[distance]
    reference = losses.ContrastiveLoss(**options, reducer=reducers.DoNothingReducer())
    embeddings, labels = _embeddings(7)
    first, second, same = _all_pairs(labels)

    def expected(x: Tensor) -> Tensor:
        hinges = reference(x, labels)  # neither squared nor averaged
        return torch.cat([hinges[name]["losses"] for name in ("pos_loss", "neg_loss")]).square().mean()

    def ours(x: Tensor) -> Tensor:
        return _of_embeddings(ContrastiveLoss(margin), x[first], x[second], same, distance)

    torch.testing.assert_close(_gradient(ours, embeddings), _gradient(expected, embeddings))


def test_the_cross_entropy_is_that_of_torch_and_of_sklearn() -> None:
    logits, same = _pairs(PairCrossEntropy(), 8)
    loss = PairCrossEntropy()(logits, same)
    torch.testing.assert_close(loss, nn.BCEWithLogitsLoss()(logits, same))
    metrics = pytest.importorskip("sklearn.metrics")
    assert loss.item() == pytest.approx(metrics.log_loss(same.numpy(), logits.sigmoid().numpy()), rel=1e-9)


@every_loss
def test_swapping_the_images_of_some_pairs_changes_neither_the_loss_nor_the_gradient(loss: PairLoss) -> None:
    embeddings, labels = _embeddings(9)
    first, second, same = _all_pairs(labels)
    swapped = torch.arange(len(first)) % 3 == 0
    one, other = torch.where(swapped, second, first), torch.where(swapped, first, second)
    torch.testing.assert_close(
        _gradient(lambda x: _of_embeddings(loss, x[one], x[other], same), embeddings),
        _gradient(lambda x: _of_embeddings(loss, x[first], x[second], same), embeddings),
    )


@every_loss
def test_neither_the_order_of_the_pairs_nor_their_repetition_matters(loss: PairLoss) -> None:
    values, same = _pairs(loss, 10)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(11))
    torch.testing.assert_close(loss(values[order], same[order]), loss(values, same))
    torch.testing.assert_close(loss(values.repeat(3), same.repeat(3)), loss(values, same))


@every_distance_loss
def test_moving_and_turning_all_embeddings_does_not_change_a_loss_of_euclidean_distances(loss: DistanceLoss) -> None:
    embeddings, labels = _embeddings(12)
    first, second, same = _all_pairs(labels)
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(13), dtype=torch.float64)
    moved = embeddings @ torch.linalg.qr(matrix).Q + torch.arange(1.0, 6.0, dtype=torch.float64)
    expected = _of_embeddings(loss, embeddings[first], embeddings[second], same)
    torch.testing.assert_close(_of_embeddings(loss, moved[first], moved[second], same), expected)


@every_distance_loss
def test_scaling_each_embedding_does_not_change_a_loss_of_cosine_distances(loss: DistanceLoss) -> None:
    embeddings, labels = _embeddings(14)
    first, second, same = _all_pairs(labels)
    generator = torch.Generator().manual_seed(15)
    scaled = embeddings * 10 ** torch.empty(len(labels), 1, dtype=torch.float64).uniform_(-3, 3, generator=generator)
    expected = _of_embeddings(loss, embeddings[first], embeddings[second], same, "cosine")
    torch.testing.assert_close(_of_embeddings(loss, scaled[first], scaled[second], same, "cosine"), expected)


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_scaling_distances_and_margin_scales_the_contrastive_loss_by_the_square(scale: float) -> None:
    distances, same = _pairs(ContrastiveLoss(), 16)
    scaled = ContrastiveLoss(1.3 * scale)(scale * distances, same)
    torch.testing.assert_close(scaled, scale**2 * ContrastiveLoss(1.3)(distances, same))


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_scaling_distances_and_constant_scales_the_exponential_loss_alike(scale: float) -> None:
    distances, same = _pairs(ExponentialLoss(), 17)
    scaled = ExponentialLoss(1.3 * scale)(scale * distances, same)
    torch.testing.assert_close(scaled, scale * ExponentialLoss(1.3)(distances, same))


def test_exchanging_the_kinds_and_the_sign_of_the_logits_does_not_change_the_cross_entropy() -> None:
    logits, same = _pairs(PairCrossEntropy(), 18)
    torch.testing.assert_close(PairCrossEntropy()(-logits, 1 - same), PairCrossEntropy()(logits, same))


def test_the_gradient_of_the_cross_entropy_is_the_error_of_the_probability() -> None:
    logits, same = _pairs(PairCrossEntropy(), 19)
    _, gradient = _gradient(lambda x: PairCrossEntropy()(x, same), logits)
    torch.testing.assert_close(gradient, (logits.sigmoid() - same) / len(logits))


@every_distance_loss
def test_the_gradient_pulls_same_class_pairs_together_and_pushes_others_apart(loss: DistanceLoss) -> None:
    distances, same = torch.tensor([0.2, 0.6, 0.2, 0.6]), torch.tensor([1, 1, 0, 0])
    _, gradient = _gradient(lambda x: loss(x, same), distances)
    assert (gradient[:2] > 0).all()
    assert (gradient[2:] < 0).all()


@pytest.mark.parametrize(
    ("loss", "same", "different"),
    [(ContrastiveLoss(1.5), 0.0, 1.5**2), (ExponentialLoss(1.5), 0.0, 3.0), (PairCrossEntropy(), math.log(2), math.log(2))],
    ids=["contrastive", "exponential", "cross-entropy"],
)
def test_the_loss_of_a_pair_that_cannot_be_told_apart(loss: PairLoss, same: float, different: float) -> None:
    assert loss(torch.zeros(3), torch.ones(3)).item() == pytest.approx(same)
    assert loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(different)


def test_different_class_pairs_beyond_the_margin_are_left_alone() -> None:
    distances, same = torch.tensor([1.5, 2.0, 40.0]), torch.zeros(3)
    value, gradient = _gradient(lambda x: ContrastiveLoss(1.5)(x, same), distances)
    assert value == 0
    assert torch.equal(gradient, torch.zeros(3))


@every_loss
def test_a_pair_at_any_distance_that_is_told_right_costs_nothing(loss: PairLoss) -> None:
    far = torch.full((2,), -1e20 if loss.takes == "pair_logits" else 1e20)  # its square is not finite in float32
    value, gradient = _gradient(lambda x: loss(x, torch.zeros(2)), far)
    assert value == 0
    assert torch.equal(gradient, torch.zeros(2))


@pytest.mark.parametrize(("logit", "same", "expected"), [(1e4, 0.0, 1e4), (-1e4, 1.0, 1e4), (1e4, 1.0, 0.0), (-1e4, 0.0, 0.0)])
def test_large_logits_have_a_finite_cross_entropy(logit: float, same: float, expected: float) -> None:
    value, gradient = _gradient(lambda x: PairCrossEntropy()(x, torch.full((2,), same)), torch.full((2,), logit))
    assert value == expected
    assert gradient.isfinite().all()


@every_loss
def test_the_kind_of_a_pair_is_said_by_any_type_of_number(loss: PairLoss) -> None:
    values, same = _pairs(loss, 20)
    for dtype in (torch.bool, torch.int64, torch.float32):
        assert torch.equal(loss(values, same.to(dtype)), loss(values, same))
        assert torch.equal(loss(values.float(), same.to(dtype)), loss(values.float(), same))


@every_loss
def test_the_gradient_is_that_of_finite_differences(loss: PairLoss) -> None:
    values, same = _pairs(loss, 21)
    assert torch.autograd.gradcheck(lambda x: loss(x, same), values.requires_grad_())


@every_loss
@every_distance
def test_the_gradient_through_the_distance_is_that_of_finite_differences(loss: PairLoss, distance: Distance) -> None:
    embeddings, labels = _embeddings(22, size=5, num_classes=2, dimensions=3)
    first, second, same = _all_pairs(labels)
    assert torch.autograd.gradcheck(
        lambda x: _of_embeddings(loss, x[first], x[second], same, distance), embeddings.requires_grad_()
    )


@every_loss
@every_distance
@pytest.mark.parametrize("same", [0.0, 1.0], ids=["of two classes", "of the same class"])
@pytest.mark.parametrize("equal", ["one pair", "all", "all zero"])
def test_the_gradient_is_finite_where_embeddings_are_equal(loss: PairLoss, distance: Distance, same: float, equal: str) -> None:
    embeddings = _embeddings(23, size=6)[0].float()
    if equal == "one pair":
        embeddings[1] = embeddings[0]
    else:
        embeddings[:] = 0.0 if equal == "all zero" else 0.7
    kinds = torch.full((3,), same)
    value, gradient = _gradient(lambda x: _of_embeddings(loss, x[0::2], x[1::2], kinds, distance), embeddings)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_loss
@every_distance
def test_a_batch_without_a_pair_gives_a_zero_that_backward_goes_through(loss: PairLoss, distance: Distance) -> None:
    embeddings, none = _embeddings(24)[0].float(), torch.empty(0, dtype=torch.int64)
    value, gradient = _gradient(lambda x: _of_embeddings(loss, x[none], x[none], torch.empty(0), distance), embeddings)
    assert value.shape == ()
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(embeddings))


@every_loss
def test_under_bfloat16_autocast_the_loss_is_computed_in_float32(loss: PairLoss) -> None:
    values, same = _pairs(loss, 25, size=6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = values.float() @ torch.eye(6)
        assert encoded.dtype == torch.bfloat16
        from_bfloat16, from_float32 = loss(encoded, same), loss(values.float(), same)
    assert from_bfloat16.dtype == from_float32.dtype == torch.float32
    assert torch.equal(from_bfloat16, loss(encoded.float(), same))
    assert torch.equal(from_float32, loss(values.float(), same))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_loss_has_the_precision_of_its_input_but_at_least_float32(loss: PairLoss, dtype: torch.dtype) -> None:
    values, same = _pairs(loss, 26)
    assert loss(values.to(dtype), same).dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("number", [0, 0.0, -0.5, math.nan])
def test_a_margin_or_a_constant_that_is_not_positive_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match=rf"ContrastiveLoss: margin must be positive, not {number}"):
        ContrastiveLoss(margin=number)
    with pytest.raises(ValueError, match=rf"ExponentialLoss: constant must be positive, not {number}"):
        ExponentialLoss(constant=number)


def test_the_arguments_are_kept_under_their_names() -> None:
    assert ContrastiveLoss(0.7).margin == 0.7
    assert ExponentialLoss(0.7).constant == 0.7
    assert all(list(loss.parameters()) == [] for loss in PAIR_LOSSES)


# What a loss is computed from.

INPUTS: list[Input] = list(get_args(Input))
LOSSES: list[tuple[nn.Module, Input]] = [
    (TripletLoss(), "embeddings"),
    (PrototypicalLoss(), "embeddings"),
    (SquaredError(), "logits"),
    (ContrastiveLoss(), "pair_distances"),
    (ExponentialLoss(), "pair_distances"),
    (PairCrossEntropy(), "pair_logits"),
    (nn.CrossEntropyLoss(), "logits"),
    (nn.BCEWithLogitsLoss(), "pair_logits"),
]


@pytest.mark.parametrize("needed", INPUTS)
@pytest.mark.parametrize(("loss", "takes"), LOSSES, ids=lambda value: type(value).__name__)
def test_a_loss_goes_with_the_families_that_give_what_it_takes(loss: nn.Module, takes: Input, needed: Input) -> None:
    if takes == needed:
        check_input(loss, needed, "Family")
        return
    said = f"Family has {needed.replace('_', ' ')} to give, and {type(loss).__name__} is a loss of {takes.replace('_', ' ')};"
    with pytest.raises(ValueError, match=f"model.loss: {said} name another, or null for the usual one of Family"):
        check_input(loss, needed, "Family")


@pytest.mark.parametrize("name", ["ContrastiveLoss", "TripletMarginLoss", "SupConLoss"])
def test_the_losses_of_pytorch_metric_learning_take_embeddings(name: str) -> None:
    loss = getattr(pytest.importorskip("pytorch_metric_learning.losses"), name)()
    check_input(loss, "embeddings", "Family")
    with pytest.raises(ValueError, match=f"Family has pair distances to give, and {name} is a loss of embeddings"):
        check_input(loss, "pair_distances", "Family")


@pytest.mark.parametrize("needed", INPUTS)
def test_a_loss_of_ones_own_takes_what_it_says_or_is_believed_to(needed: Input) -> None:
    class Mine(nn.Module):
        pass

    class MineOfLogits(Mine):
        takes = "logits"

    class MineOfTorch(nn.TripletMarginLoss):
        pass

    check_input(Mine(), needed, "Family")
    check_input(MineOfTorch(), needed, "Family")
    if needed == "logits":
        check_input(MineOfLogits(), needed, "Family")
    else:
        with pytest.raises(ValueError, match="MineOfLogits is a loss of logits"):
            check_input(MineOfLogits(), needed, "Family")


@pytest.mark.parametrize(
    "name",
    [
        "TripletMarginLoss",
        pytest.param("ContrastiveLoss", marks=pytest.mark.slow),
        pytest.param("SupConLoss", marks=pytest.mark.slow),
    ],
)
def test_triplet_is_trained_with_a_loss_of_pytorch_metric_learning_named_by_its_path(
    script: Script, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("pytorch_metric_learning")
    (tmp_path / "theirs.yaml").write_text(
        "data:\n"
        "  class_path: lab.data.Synthetic\n"
        "  init_args: {num_classes_made: 4, num_train_images: 80, num_test_images: 40, batch_size: 16, samples_per_class: 4}\n"
        "model:\n"
        "  class_path: lab.models.Triplet\n"
        "  init_args:\n"
        "    encoder: {class_path: lab.nets.ConvNet, init_args: {width: 4}}\n"
        f"    loss: pytorch_metric_learning.losses.{name}\n"
        "trainer: {accelerator: cpu, max_epochs: 1, default_root_dir: runs}\n"
    )
    done = script("fit.py", "--config", "theirs.yaml")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "theirs" / "version_0"
    scores = {key: value for key, value in json.loads((run / "metrics.json").read_text()).items() if key.startswith("test/")}
    assert "test/loss" in scores
    assert all(math.isfinite(score) for score in scores.values())
    model = load(run / "checkpoints" / "best.ckpt")
    assert isinstance(model, Triplet)
    assert type(model.loss).__name__ == name
    assert type(model.loss).__module__.startswith("pytorch_metric_learning")
