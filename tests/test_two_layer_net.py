"""The exact values of the toy problem of CS231n's assignment 1, and its gradients against numerical differences."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.nets import TwoLayerNet

SCORES = [
    [-0.81233741, -1.27654624, -0.70335995],
    [-0.17129677, -1.18803311, -0.47310444],
    [-0.51590475, -1.01354314, -0.8504215],
    [-0.15419291, -0.48629638, -0.52901952],
    [-0.00618733, -0.12435261, -0.15226949],
]
LABELS = torch.tensor([0, 1, 2, 2, 1])


def _toy_net(regularization: float) -> TwoLayerNet:
    draws = np.random.RandomState(0)
    net = TwoLayerNet((4, 1, 1), hidden_size=10, embedding_size=3, regularization=regularization).double()
    with torch.no_grad():
        net.hidden.weight.copy_(torch.from_numpy(0.1 * draws.randn(4, 10)).T)
        net.output.weight.copy_(torch.from_numpy(0.1 * draws.randn(10, 3)).T)
    return net


def _toy_images() -> Tensor:
    return torch.from_numpy(10 * np.random.RandomState(1).randn(5, 4)).reshape(5, 4, 1, 1)


def _loss(net: TwoLayerNet) -> Tensor:
    return nn.functional.cross_entropy(net(_toy_images()), LABELS) + net.penalty()


def test_the_scores_of_the_toy_problem_are_the_known_ones() -> None:
    torch.testing.assert_close(_toy_net(0.0)(_toy_images()), torch.tensor(SCORES).double(), rtol=0, atol=1e-7)


def test_the_loss_of_the_toy_problem_is_the_known_one() -> None:
    assert _loss(_toy_net(0.05)).item() == pytest.approx(1.30378789133, rel=0, abs=1e-11)


@pytest.mark.parametrize("name", ["hidden.weight", "hidden.bias", "output.weight", "output.bias"])
@torch.no_grad()
def test_every_gradient_of_the_toy_problem_is_the_numerical_difference(name: str) -> None:
    net, step = _toy_net(0.05), 1e-3
    with torch.enable_grad():
        _loss(net).backward()
    parameter = net.get_parameter(name)
    assert parameter.grad is not None
    values, gradients = parameter.view(-1), parameter.grad.reshape(-1)
    for i in range(len(values)):
        before = values[i].item()
        losses = []
        for away in (1, -1, 2, -2):
            values[i] = before + away * step
            losses.append(_loss(net).item())
        values[i] = before
        # The central difference, and another of twice the step that takes away its error of second order.
        difference = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / (12 * step)
        assert gradients[i].item() == pytest.approx(difference, rel=1e-8, abs=1e-12)


def test_a_hundred_steps_of_gradient_descent_bring_the_loss_under_two_hundredths() -> None:
    net = _toy_net(5e-6)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = _loss(net)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert _loss(net).item() < 0.02 < losses[0]


def test_the_penalty_is_the_sum_of_the_squared_weights_without_a_half_and_without_the_biases() -> None:
    net = _toy_net(0.3)
    nn.init.ones_(net.hidden.bias)
    expected = sum(weight**2 for layer in (net.hidden, net.output) for weight in layer.weight.flatten().tolist())
    assert net.penalty().item() == pytest.approx(0.3 * expected, rel=1e-12)
    assert _toy_net(0.0).penalty().item() == 0


def test_weights_start_normal_with_the_scale_asked_for_and_biases_at_zero() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TwoLayerNet((3, 32, 32), hidden_size=200, embedding_size=100, weight_scale=0.02)
    for layer in (net.hidden, net.output):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert layer.weight.mean().abs() < 5 * 0.02 / layer.weight.numel() ** 0.5
        assert (layer.weight.abs() < 0.02).float().mean().item() == pytest.approx(0.6827, abs=0.01)
        assert not layer.bias.any()


@pytest.mark.parametrize("wrong", [{"hidden_size": 0}, {"embedding_size": -1}, {"regularization": -0.1}])
def test_sizes_that_are_not_positive_and_a_negative_regularization_are_refused(wrong: dict[str, float]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=rf"^TwoLayerNet: .*{name} {value}"):
        TwoLayerNet(**wrong)  # type: ignore[arg-type]
