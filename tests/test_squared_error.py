import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from lab.losses import SquaredError

Reduction = Literal["brier", "sum", "mean"]

REDUCTIONS: list[Reduction] = ["brier", "sum", "mean"]

every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def _batch(seed: int, size: int = 8, num_classes: int = 5) -> tuple[Tensor, Tensor]:
    """Return logits in float64 and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (size,), generator=generator)


def _loss_by_loop(logits: Tensor, labels: Tensor, reduction: Reduction) -> float:
    losses: list[float] = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(z) for z in row)
        error = sum((math.exp(z) / total - (c == label)) ** 2 for c, z in enumerate(row))
        losses.append(error / len(row) if reduction == "mean" else error)
    return sum(losses) if reduction == "sum" else sum(losses) / len(losses)


def _gradient(loss: SquaredError, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    assert value.requires_grad
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@every_reduction
def test_the_loss_is_that_of_a_loop_over_images_and_classes(reduction: Reduction) -> None:
    for seed in range(3):
        logits, labels = _batch(seed)
        loss = SquaredError(reduction)(logits, labels)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(_loss_by_loop(logits, labels, reduction), rel=1e-9)
        assert loss.item() > 0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_sum_and_the_mean_are_those_of_the_squared_error_of_torch(reduction: Literal["sum", "mean"]) -> None:
    logits, labels = _batch(3)
    expected = nn.MSELoss(reduction=reduction)(logits.softmax(1), nn.functional.one_hot(labels, 5).double())
    torch.testing.assert_close(SquaredError(reduction)(logits, labels), expected)


def test_the_mean_over_two_classes_is_the_brier_score_of_sklearn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = _batch(4, num_classes=2)
    expected = metrics.brier_score_loss(labels.numpy(), logits.softmax(1)[:, 1].numpy())
    assert SquaredError("mean")(logits, labels).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_score_is_as_many_times_the_mean_as_there_are_classes_and_the_sum_that_of_all_images(num_classes: int) -> None:
    logits, labels = _batch(5, num_classes=num_classes)
    of_mean = _gradient(SquaredError("mean"), logits, labels)
    of_score = _gradient(SquaredError("brier"), logits, labels)
    torch.testing.assert_close(of_score, tuple(num_classes * value for value in of_mean))
    of_sum = _gradient(SquaredError("sum"), logits, labels)
    torch.testing.assert_close(of_sum, tuple(len(labels) * value for value in of_score))


@every_reduction
def test_adding_a_constant_to_the_logits_of_an_image_changes_nothing(reduction: Reduction) -> None:
    logits, labels = _batch(6)
    moved = logits + torch.linspace(-50, 50, len(logits), dtype=torch.float64).unsqueeze(1)
    loss = SquaredError(reduction)
    torch.testing.assert_close(_gradient(loss, moved, labels), _gradient(loss, logits, labels))


@every_reduction
def test_neither_the_order_of_the_images_nor_that_of_the_classes_matters(reduction: Reduction) -> None:
    logits, labels = _batch(7)
    loss = SquaredError(reduction)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(8))
    torch.testing.assert_close(loss(logits[order], labels[order]), loss(logits, labels))
    classes = torch.randperm(5, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(loss(logits[:, classes], classes.argsort()[labels]), loss(logits, labels))


@pytest.mark.parametrize("num_classes", [2, 10])
def test_what_a_guess_a_sure_right_answer_and_a_sure_wrong_one_cost(num_classes: int) -> None:
    labels = torch.tensor([0, 1])
    sure = 1e4 * nn.functional.one_hot(labels, num_classes).float()
    assert SquaredError()(torch.zeros(2, num_classes), labels).item() == pytest.approx(1 - 1 / num_classes)
    assert SquaredError()(sure, labels) == 0
    assert SquaredError()(sure, 1 - labels) == 2


@every_reduction
def test_the_gradient_of_large_logits_is_finite(reduction: Reduction) -> None:
    value, gradient = _gradient(SquaredError(reduction), torch.tensor([[3e38, -3e38, 0.0]] * 3), torch.tensor([0, 1, 2]))
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_reduction
def test_the_gradient_raises_the_logit_of_the_label_and_sums_to_zero_over_classes(reduction: Reduction) -> None:
    logits, labels = _batch(10)
    _, gradient = _gradient(SquaredError(reduction), logits, labels)
    assert (gradient.gather(1, labels.unsqueeze(1)) < 0).all()
    torch.testing.assert_close(gradient.sum(1), torch.zeros(len(logits), dtype=torch.float64))


@every_reduction
def test_the_gradient_is_that_of_finite_differences(reduction: Reduction) -> None:
    logits, labels = _batch(11)
    assert torch.autograd.gradcheck(lambda x: SquaredError(reduction)(x, labels), logits.requires_grad_())


@every_reduction
@pytest.mark.parametrize("shape", [(0, 5), (4, 1)], ids=["no image", "one class"])
def test_a_batch_with_nothing_to_tell_apart_gives_a_zero_that_backward_goes_through(
    reduction: Reduction, shape: tuple[int, int]
) -> None:
    labels = torch.zeros(shape[0], dtype=torch.int64)
    value, gradient = _gradient(SquaredError(reduction), torch.ones(shape), labels)
    assert value.shape == ()
    assert value == 0
    assert torch.equal(gradient, torch.zeros(shape))


@every_reduction
def test_under_bfloat16_autocast_the_loss_is_computed_in_float32(reduction: Reduction) -> None:
    logits, labels = _batch(12)
    loss = SquaredError(reduction)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = logits.float() @ torch.eye(5)
        assert rounded.dtype == torch.bfloat16
        from_bfloat16, from_float32 = loss(rounded, labels), loss(logits.float(), labels)
    assert from_bfloat16.dtype == from_float32.dtype == torch.float32
    assert torch.equal(from_bfloat16, loss(rounded.float(), labels))
    assert torch.equal(from_float32, loss(logits.float(), labels))


@every_reduction
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_loss_has_the_precision_of_the_logits_but_at_least_float32(reduction: Reduction, dtype: torch.dtype) -> None:
    logits, labels = _batch(13)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert SquaredError(reduction)(logits.to(dtype), labels).dtype == expected


@pytest.mark.parametrize("reduction", ["none", "Sum", None])
def test_an_unknown_reduction_is_refused(reduction: Any) -> None:
    with pytest.raises(ValueError, match=f"SquaredError: reduction must be brier, sum or mean, not {reduction!r}"):
        SquaredError(reduction)


def test_the_reduction_is_kept_under_its_name() -> None:
    assert SquaredError().reduction == "brier"
    assert SquaredError("mean").reduction == "mean"
    assert list(SquaredError().parameters()) == []
