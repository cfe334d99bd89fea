import copy
import inspect
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from conftest import PROJECT
from torch import Tensor, nn

from lab.nets import MLP, AirbenchNet, ConvNet, DeepConvNet, KochNet, ResidualNet, TwoLayerNet
from lab.nets.heads import Bias, class_head
from lab.nets.layers import ACTIVATIONS, Dropout, activation_layer

IMAGE_SHAPES = [(1, 28, 28), (3, 32, 32), (1, 16, 40), (2, 17, 13)]
SMALL_NETS = [
    (MLP, {"dropout": 0.3}),
    (MLP, {"hidden_sizes": (9, 7), "batch_norm": "all", "bias": False, "activation": "elu", "initialization": "he_normal"}),
    (MLP, {"hidden_sizes": (9,), "batch_norm": "hidden", "activation": "tanh", "activate_last": True}),
    (TwoLayerNet, {"hidden_size": 9}),
    (ConvNet, {"width": 4}),
    (DeepConvNet, {"widths": (4, 6), "hidden_size": 9}),
    (AirbenchNet, {"widths": (4, 8)}),
    (KochNet, {"image_shape": (3, 65, 67)}),
    (ResidualNet, {"num_blocks": (1, 1), "width": 4}),
    (ResidualNet, {"num_blocks": (1, 1), "width": 8, "block": "plain"}),
    (ResidualNet, {"image_shape": (3, 72, 70), "num_blocks": (2, 1), "width": 8, "block": "bottleneck"}),
]


def _small(net_class: type[nn.Module], shape: tuple[int, int, int], arguments: dict[str, Any]) -> nn.Module:
    """Make a network with embeddings of 8."""
    size = {} if net_class is AirbenchNet else {"embedding_size": 8}  # which is its last width
    return net_class(**{"image_shape": shape, **size, **arguments})


@pytest.fixture(autouse=True)
def _seeded_weights() -> Iterator[None]:
    """Weights and dropout draw from the global generator; leave it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _images(number: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(seed))


def _num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("shape", IMAGE_SHAPES)
@pytest.mark.parametrize("hidden_sizes", [(), (7,), (16, 12, 8)])
def test_an_mlp_embeds_images_of_any_shape_with_the_parameters_of_its_layers(
    shape: tuple[int, int, int], hidden_sizes: tuple[int, ...]
) -> None:
    net = MLP(shape, hidden_sizes, embedding_size=5, dropout=0.1)
    assert net(_images(3, shape)).shape == (3, 5)
    sizes = [math.prod(shape), *hidden_sizes, 5]
    assert _num_parameters(net) == sum((sizes[i] + 1) * sizes[i + 1] for i in range(len(sizes) - 1))


@pytest.mark.parametrize("shape", IMAGE_SHAPES)
@pytest.mark.parametrize(("width", "depth", "later_width"), [(1, 1, None), (4, 2, None), (6, 3, None), (6, 3, 7)])
def test_a_conv_net_embeds_images_of_any_shape_with_the_parameters_of_its_layers(
    shape: tuple[int, int, int], width: int, depth: int, later_width: int | None
) -> None:
    net = ConvNet(shape, width, depth, embedding_size=5, later_width=later_width)
    assert net(_images(3, shape)).shape == (3, 5)
    channels = [shape[0], width] + [later_width or 2 * width] * (depth - 1)
    convolutions = sum(9 * channels[i] * channels[i + 1] for i in range(depth))
    batch_norms = sum(2 * channels[i + 1] for i in range(depth))
    flat = channels[-1] * (shape[1] // 2**depth) * (shape[2] // 2**depth)
    assert _num_parameters(net) == convolutions + batch_norms + (flat + 1) * 5


def test_an_mlp_is_its_linear_layers_with_relu_between_them() -> None:
    net = MLP((2, 3, 4), (6, 5), embedding_size=3)
    images = _images(4, (2, 3, 4)) - 0.5
    activations = images.reshape(4, -1)
    linears = [module for module in net.modules() if isinstance(module, nn.Linear)]
    for linear in linears[:-1]:
        activations = (activations @ linear.weight.T + linear.bias).clamp(min=0)
    torch.testing.assert_close(net(images), activations @ linears[-1].weight.T + linears[-1].bias)


@pytest.mark.parametrize(("shape", "depth"), [((1, 4, 4), 2), ((3, 8, 20), 3), ((1, 2, 2), 1)])
def test_an_image_of_just_two_to_the_depth_pixels_is_large_enough(shape: tuple[int, int, int], depth: int) -> None:
    assert ConvNet(shape, width=2, depth=depth, embedding_size=3)(_images(2, shape)).shape == (2, 3)


@pytest.mark.parametrize(("shape", "depth"), [((1, 3, 4), 2), ((3, 20, 7), 3), ((1, 28, 28), 5)])
def test_an_image_too_small_for_the_depth_is_refused_with_the_size_it_needs(shape: tuple[int, int, int], depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth {depth} .*{2**depth} pixels.*{shape[1]}x{shape[2]}"):
        ConvNet(shape, depth=depth)


@pytest.mark.parametrize("argument", ["width", "depth", "embedding_size", "later_width"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_conv_net_refuses_sizes_that_are_not_positive(argument: str, value: int) -> None:
    sizes: dict[str, Any] = {argument: value}
    with pytest.raises(ValueError, match=rf"{argument} {value}"):
        ConvNet(**sizes)


@pytest.mark.parametrize("arguments", [{"hidden_sizes": (8, 0)}, {"embedding_size": 0}, {"embedding_size": -2}])
def test_an_mlp_refuses_sizes_that_are_not_positive(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MLP(**arguments)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 2.0, math.nan])
def test_an_mlp_refuses_a_dropout_that_is_no_probability_below_one(dropout: float) -> None:
    with pytest.raises(ValueError, match=rf"dropout.*{dropout}"):
        MLP(dropout=dropout)


def test_an_mlp_drops_units_in_training_only() -> None:
    net, images = MLP((1, 8, 8), (64, 64), 16, dropout=0.5), _images(4, (1, 8, 8))
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))
    undropped = MLP((1, 8, 8), (64, 64), 16)
    undropped.load_state_dict(dict(zip(undropped.state_dict(), net.state_dict().values(), strict=True)))
    assert torch.equal(net(images), undropped.eval()(images))


def test_dropping_hidden_units_keeps_the_embedding_on_average() -> None:
    net = MLP((1, 4, 4), (32,), 3, dropout=0.4)
    embeddings = net(_images(1, (1, 4, 4)).expand(10_000, 1, 4, 4))
    error_of_mean = embeddings.std(0) / 10_000**0.5
    assert ((embeddings.mean(0) - net.eval()(_images(1, (1, 4, 4)))[0]).abs() < 5 * error_of_mean).all()


def test_an_mlp_without_dropout_is_the_same_in_training_and_in_evaluation() -> None:
    net, images = MLP((1, 8, 8), (64,), 16), _images(4, (1, 8, 8))
    assert torch.equal(net.train()(images), net.eval()(images))


def test_an_mlp_drops_hidden_units_but_none_of_the_embedding() -> None:
    net = MLP((1, 8, 8), (64,), 200, dropout=0.9)
    assert (net(_images(20, (1, 8, 8))) != 0).all()


@pytest.mark.parametrize(("net_class", "arguments"), SMALL_NETS)
def test_in_evaluation_an_embedding_does_not_depend_on_the_other_images(
    net_class: type[nn.Module], arguments: dict[str, Any]
) -> None:
    shape = arguments.get("image_shape", (3, 8, 8))
    net = _small(net_class, shape, arguments)
    images = _images(6, shape)
    net.train()(images)  # so that batch norm has seen something
    net.eval()
    together = net(images)
    alone = torch.cat([net(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize(("net_class", "arguments"), SMALL_NETS)
def test_every_parameter_gets_a_gradient_and_the_images_stay_as_they_are(
    net_class: type[nn.Module], arguments: dict[str, Any]
) -> None:
    shape = arguments.get("image_shape", (3, 8, 8))
    net = _small(net_class, shape, arguments)
    images = _images(6, shape)
    before = images.clone()
    embeddings = net(images)
    assert embeddings.shape == (6, 8)
    (embeddings * torch.randn(6, 8)).sum().backward()
    assert torch.equal(images, before)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvNet((3, 12, 16), 4, 2, 8),
        lambda: DeepConvNet((3, 12, 16), (4, 5), 2, 6, 0.0, 8),
        lambda: ResidualNet((3, 12, 16), "basic", (1, 1), 4),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_the_memory_format_of_a_network_and_of_its_images_changes_numbers_by_rounding_alone(
    training: bool, make: Callable[[], ConvNet | DeepConvNet | ResidualNet]
) -> None:
    net = make()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    net.train(training)
    plain = copy.deepcopy(net.layers).to(memory_format=torch.contiguous_format)
    images = _images(5, (3, 12, 16))
    expected = plain(images)
    near = {"rtol": 1e-4, "atol": 1e-4 * expected.abs().max().item()}  # how numbers are rounded depends on the processor
    torch.testing.assert_close(net(images.contiguous(memory_format=torch.channels_last)), expected, **near)
    torch.testing.assert_close(copy.deepcopy(net)(images), expected, **near)


@pytest.mark.parametrize(
    ("net_class", "arguments"),
    [
        (
            MLP,
            {
                "image_shape": (3, 9, 8),
                "hidden_sizes": (5, 6),
                "embedding_size": 7,
                "activation": "elu",
                "activate_last": True,
                "batch_norm": "all",
                "batch_norm_epsilon": 1e-3,
                "dropout": 0.25,
                "bias": False,
                "initialization": "he_normal",
            },
        ),
        (
            TwoLayerNet,
            {"image_shape": (3, 9, 8), "hidden_size": 5, "embedding_size": 7, "weight_scale": 0.1, "regularization": 0.2},
        ),
        (
            DeepConvNet,
            {
                "image_shape": (3, 9, 8),
                "widths": (3, 4),
                "num_convolutions": 1,
                "hidden_size": 6,
                "dropout": 0.1,
                "embedding_size": 7,
            },
        ),
        (
            KochNet,
            {"image_shape": (3, 70, 65), "embedding_size": 7, "convolution_penalty": 0.1, "dense_penalty": 0.2},
        ),
        (
            ResidualNet,
            {"image_shape": (3, 32, 32), "block": "bottleneck", "num_blocks": (1, 2), "width": 4, "embedding_size": 7},
        ),
        (AirbenchNet, {"image_shape": (3, 9, 8), "widths": (3, 4)}),
        (ConvNet, {"image_shape": (3, 9, 8), "width": 5, "depth": 2, "embedding_size": 7, "later_width": 6}),
    ],
)
def test_every_argument_is_kept_under_its_name(net_class: type[nn.Module], arguments: dict[str, Any]) -> None:
    net = net_class(**arguments)
    from_lists = net_class(**{name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()})
    assert set(inspect.signature(net_class).parameters) == set(arguments)
    for name, value in arguments.items():
        assert getattr(net, name) == getattr(from_lists, name) == value


@pytest.mark.parametrize("net_class", [MLP, TwoLayerNet, AirbenchNet, ConvNet, DeepConvNet, KochNet, ResidualNet])
def test_the_default_network_fits_the_default_image_shape(net_class: type[nn.Module]) -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(net_class).parameters.items()}
    net = net_class()
    embeddings = net(_images(2, defaults["image_shape"]))
    assert embeddings.shape == (2, net.embedding_size)
    assert net.embedding_size == (defaults.get("embedding_size") or {ResidualNet: 512, AirbenchNet: 256}[net_class])
    assert embeddings.dtype == torch.float32


def _activated(name: str, values: Tensor) -> Tensor:
    if name == "relu":
        return values.clamp(min=0)
    if name == "elu":
        return torch.where(values > 0, values, values.exp() - 1)
    if name == "tanh":
        return (values.exp() - (-values).exp()) / (values.exp() + (-values).exp())
    return 1 / (1 + (-values).exp())


def _mlp_by_hand(net: MLP, images: Tensor, options: dict[str, Any]) -> Tensor:
    """Linear, batch norm, activation, dropout, as the options say, with the parameters and the mode of a network."""
    linears = [module for module in net.modules() if isinstance(module, nn.Linear)]
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
    values = images.reshape(len(images), -1)
    for i, linear in enumerate(linears):
        hidden = i < len(linears) - 1
        values = values @ linear.weight.T + (linear.bias if options.get("bias", True) else 0)
        if options.get("batch_norm") == "all" or (options.get("batch_norm") == "hidden" and hidden):
            norm = norms.pop(0)
            mean, variance = norm.running_mean, norm.running_var
            if net.training:
                mean, variance = values.mean(0), values.var(0, correction=0)
            assert mean is not None and variance is not None
            values = (values - mean) / (variance + options.get("batch_norm_epsilon", 1e-5)).sqrt() * norm.weight + norm.bias
        if hidden or options.get("activate_last"):
            values = _activated(options.get("activation", "relu"), values)
        if hidden and net.training and options.get("dropout"):
            values = Dropout(options["dropout"])(values)  # which has tests of its own
    assert not norms
    return values


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.97])
def test_dropout_drops_its_share_of_units_wherever_they_are_and_scales_up_the_others(probability: float) -> None:
    values = torch.ones(399, 101, requires_grad=True)  # of odd numbers, which four do not divide
    dropped = Dropout(probability)(values)
    kept = dropped.detach() != 0
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - probability)), rtol=2e-3, atol=0.0)
    error = math.sqrt(probability * (1 - probability))
    assert abs(kept.float().mean().item() - (1 - probability)) < 5 * error / math.sqrt(kept.numel())
    for along in (0, 1):  # each row, each column and each of the four places in a random number
        share = kept.float().mean(along)
        assert (share - (1 - probability)).abs().max() < 6 * error / math.sqrt(kept.shape[along])
    for place in range(4):
        share = kept.flatten()[place::4].float().mean()
        assert abs(share.item() - (1 - probability)) < 5 * error / math.sqrt(kept.numel() / 4)
    together = (kept.flatten()[1:] & kept.flatten()[:-1]).float().mean().item()
    assert abs(together - (1 - probability) ** 2) < 5 * error / math.sqrt(kept.numel())
    (3 * dropped).sum().backward()
    torch.testing.assert_close(values.grad, 3 * dropped.detach())


def test_dropout_is_drawn_by_the_global_generator_and_leaves_what_is_scored_as_it_is() -> None:
    images, layer = torch.rand(5, 7), Dropout(0.4)
    torch.manual_seed(0)
    first, second = layer(images), layer(images)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(layer(images), first)
    assert torch.equal(layer(images), second)
    assert torch.equal(layer.eval()(images), images)
    assert torch.equal(Dropout(0.0)(images), images)
    assert not Dropout(1.0)(images).any()
    assert Dropout(0.5)(images.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "elu"},
        {"activation": "tanh"},
        {"activation": "sigmoid"},
        {"activate_last": True},
        {"activate_last": True, "activation": "elu", "dropout": 0.4},
        {"batch_norm": "hidden"},
        {"batch_norm": "all"},
        {"batch_norm": "all", "activate_last": True, "activation": "tanh"},
        {"batch_norm": "all", "batch_norm_epsilon": 0.1},
        {"batch_norm": "none", "batch_norm_epsilon": 0.1},
        {"dropout": 0.4},
        {"bias": False},
        {"batch_norm": "hidden", "activation": "elu", "dropout": 0.3, "bias": False, "initialization": "he_normal"},
    ],
)
def test_an_mlp_is_linear_then_batch_norm_then_activation_then_dropout(options: dict[str, Any], training: bool) -> None:
    net = MLP((2, 3, 4), (6, 5), embedding_size=3, **options).train(training)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 1.2).sub_(0.0 if tensor.dim() == 1 else 0.7)
    images = _images(7, (2, 3, 4)) - 0.5
    assert any(parameter.requires_grad for parameter in net.parameters())
    torch.manual_seed(1)
    embeddings = net(images)
    torch.manual_seed(1)
    torch.testing.assert_close(embeddings, _mlp_by_hand(net, images, options))


@pytest.mark.parametrize(
    ("hidden_sizes", "batch_norm", "number"),
    [((), "none", 0), ((), "hidden", 0), ((), "all", 1), ((5, 4), "none", 0), ((5, 4), "hidden", 2), ((5, 4), "all", 3)],
)
def test_an_mlp_has_batch_norm_after_the_layers_asked_for(hidden_sizes: tuple[int, ...], batch_norm: Any, number: int) -> None:
    net = MLP((1, 4, 4), hidden_sizes, 3, batch_norm=batch_norm, batch_norm_epsilon=0.01)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
    assert [norm.num_features for norm in norms] == [*hidden_sizes, 3][:number]
    assert all(norm.eps == 0.01 for norm in norms)


def test_one_linear_map_of_half_a_digit_without_bias_has_3920_parameters() -> None:
    assert _num_parameters(MLP((1, 14, 28), (), 10, bias=False)) == 3920
    assert _num_parameters(MLP((1, 14, 28), (), 10)) == 3930


@pytest.mark.parametrize(
    ("initialization", "variance", "largest"),
    [
        ("pytorch", 1 / (3 * 800), math.sqrt(1 / 800)),
        ("he_normal", 2 / 800, None),
        ("glorot_uniform", 2 / (800 + 400), math.sqrt(6 / (800 + 400))),
        ("truncated_normal", 1 / 800, 2 * math.sqrt(1 / 800) / 0.8796256610342398),
    ],
)
def test_weights_start_with_the_variance_of_their_initialization(
    initialization: Any, variance: float, largest: float | None
) -> None:
    net = MLP((2, 20, 20), (400,), 300, initialization=initialization)
    first, last = (module for module in net.modules() if isinstance(module, nn.Linear))
    assert first.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert first.weight.mean().abs() < 5 * math.sqrt(variance / first.weight.numel())
    assert last.weight.var() > first.weight.var()  # its fan in is half
    if largest is not None:
        assert 0.99 * largest < first.weight.abs().max() <= largest * (1 + 1e-6)
    assert first.bias.any() == last.bias.any() == (initialization == "pytorch")


def test_a_truncated_normal_is_a_normal_distribution_cut_at_two_standard_deviations() -> None:
    net = MLP((1, 30, 30), (), 400, initialization="truncated_normal")
    weights = next(net.parameters()).abs()
    deviation = math.sqrt(1 / 900 / (1 - 4 * math.exp(-2) / (math.sqrt(2 * math.pi) * math.erf(math.sqrt(2)))))
    for cut in (0.5, 1.0, 1.5, 1.9, 2.0):  # shares of a normal distribution of which what is over two deviations is left out
        share = math.erf(cut / math.sqrt(2)) / math.erf(2 / math.sqrt(2))
        assert (weights <= cut * deviation * (1 + 1e-6)).float().mean().item() == pytest.approx(share, abs=0.005)
    assert (weights <= 2 * deviation * (1 + 1e-6)).all()


@pytest.mark.parametrize("initialization", ["he_normal", "glorot_uniform", "truncated_normal"])
def test_every_initialization_works_without_biases(initialization: Any) -> None:
    assert all(parameter.dim() == 2 for parameter in MLP(bias=False, initialization=initialization).parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activation": "gelu"}, "activation must be one of relu, elu, tanh, sigmoid, not 'gelu'"),
        ({"batch_norm": "last"}, "no batch_norm 'last'"),
        ({"initialization": "zeros"}, "no initialization 'zeros'"),
    ],
)
def test_an_mlp_refuses_options_that_there_are_not(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(**wrong)


@pytest.mark.parametrize("name", ["relu", "elu", "tanh", "sigmoid"])
def test_an_activation_is_the_function_of_its_name(name: Any) -> None:
    values = torch.linspace(-3, 3, 41)
    torch.testing.assert_close(activation_layer(name)(values), _activated(name, values))
    assert name in ACTIVATIONS


@pytest.mark.parametrize("shape", [(3, 12, 16), (1, 17, 13)])
@pytest.mark.parametrize(("widths", "num_convolutions"), [((4, 6), 2), ((3,), 1), ((2, 3, 4), 3)])
def test_a_deep_conv_net_is_its_convolutions_and_a_dense_layer(
    shape: tuple[int, int, int], widths: tuple[int, ...], num_convolutions: int
) -> None:
    net = DeepConvNet(shape, widths, num_convolutions, hidden_size=7, dropout=0.5, embedding_size=5).eval()
    parameters = iter(net.parameters())
    images = _images(3, shape)
    values = images
    for width in widths:
        for _ in range(num_convolutions):
            weight, bias = next(parameters), next(parameters)
            assert weight.shape == (width, values.shape[1], 3, 3)
            values = nn.functional.conv2d(values, weight, bias, padding=1).clamp(min=0)
        values = nn.functional.max_pool2d(values, 2)
    dense, dense_bias, last, last_bias = parameters
    assert dense.shape == (7, widths[-1] * (shape[1] >> len(widths)) * (shape[2] >> len(widths)))
    hidden = (values.reshape(3, -1) @ dense.T + dense_bias).clamp(min=0)
    torch.testing.assert_close(net(images), hidden @ last.T + last_bias)


def test_a_deep_conv_net_drops_units_of_its_dense_layer_in_training_only() -> None:
    net, images = DeepConvNet((1, 8, 8), (4,), 1, hidden_size=64, dropout=0.5, embedding_size=200), _images(4, (1, 8, 8))
    assert not torch.equal(net(images), net(images))
    assert (net(images) != 0).all()
    assert torch.equal(net.eval()(images), net(images))
    without = DeepConvNet((1, 8, 8), (4,), 1, hidden_size=64, dropout=0.0)
    assert torch.equal(without(images), without.eval()(images))


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths": [4, 0]},
        {"num_convolutions": 0},
        {"hidden_size": -1},
        {"embedding_size": 0},
        {"dropout": 1.0},
        {"dropout": math.nan},
    ],
)
def test_a_deep_conv_net_refuses_sizes_that_are_not_positive_and_a_dropout_of_one(wrong: dict[str, Any]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=rf"^DeepConvNet: .*{name} {re.escape(str(value))}"):
        DeepConvNet(**wrong)


def test_an_image_too_small_for_the_blocks_of_a_deep_conv_net_is_refused_with_the_size_it_needs() -> None:
    assert DeepConvNet((1, 4, 5), hidden_size=3, embedding_size=2)(_images(1, (1, 4, 5))).shape == (1, 2)
    with pytest.raises(ValueError, match=r"^DeepConvNet: 2 blocks need 4 pixels a side, not 9x3$"):
        DeepConvNet((1, 9, 3))


@pytest.mark.parametrize(("width", "block", "is_last"), [(8, "basic", False), (16, "basic", True), (8, "plain", True)])
def test_channels_are_last_in_memory_but_where_that_spoils_it(width: int, block: Any, is_last: bool) -> None:
    net = ResidualNet((3, 8, 8), block, (1, 1), width)
    assert net.memory_format == (torch.channels_last if is_last else torch.contiguous_format)
    assert net.layers[0][0].weight.is_contiguous(memory_format=net.memory_format)  # type: ignore[index]


def test_a_narrow_residual_network_trains_on_one_thread() -> None:
    """With channels last oneDNN writes past its memory here, which ends the process."""
    words = """
import torch
from lab.nets import ResidualNet
net = ResidualNet((3, 16, 16), "basic", (1, 1), 4)
for _ in range(20):
    net(torch.randn(32, 3, 16, 16)).sum().backward()
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", words], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_linear_head_makes_logits_of_outputs_of_any_length() -> None:
    head = class_head("linear", 5, 3)
    assert isinstance(head, nn.Linear)
    vectors = torch.rand(4, 5)
    torch.testing.assert_close(head(vectors), vectors @ head.weight.T + head.bias)


def test_a_unit_linear_head_sees_directions_alone() -> None:
    head, vectors = class_head("unit_linear", 5, 3), torch.rand(4, 5)
    assert isinstance(head, nn.Linear)
    unit = vectors / vectors.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(head(vectors), unit @ head.weight.T + head.bias)
    torch.testing.assert_close(head(7 * vectors), head(vectors))
    assert head(torch.zeros(1, 5)).isfinite().all()


def test_a_head_of_a_bias_adds_a_trained_number_to_each_output_and_no_head_adds_none() -> None:
    head, vectors = class_head("bias", 3, 3), torch.rand(4, 3)
    assert isinstance(head, Bias)
    assert torch.equal(head(vectors), vectors)
    head(vectors).sum().backward()
    assert head.bias.grad is not None
    assert head.bias.grad.tolist() == [4, 4, 4]
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(head(vectors), vectors + torch.tensor([1.0, 2.0, 3.0]))
    nothing = class_head("none", 3, 3)
    assert torch.equal(nothing(vectors), vectors)
    assert _num_parameters(nothing) == 0


@pytest.mark.parametrize("kind", ["bias", "none"])
def test_outputs_that_are_not_as_many_as_the_classes_need_a_linear_head(kind: Any) -> None:
    with pytest.raises(ValueError, match=rf"with model\.head {kind} .* 5 of them and 3 classes: .*embedding_size 3$"):
        class_head(kind, 5, 3)


def test_a_head_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.head must be linear, unit_linear, bias or none, not 'softmax'"):
        class_head("softmax", 3, 3)  # type: ignore[arg-type]
