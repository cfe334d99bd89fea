import copy
import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.nets import MLP, ConvNet, DeepConvNet, KochNet, ResidualNet, TwoLayerNet

IMAGE_SHAPES = [(1, 28, 28), (3, 32, 32), (1, 16, 40), (2, 17, 13)]


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
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (4, 2), (6, 3)])
def test_a_conv_net_embeds_images_of_any_shape_with_the_parameters_of_its_layers(
    shape: tuple[int, int, int], width: int, depth: int
) -> None:
    net = ConvNet(shape, width, depth, embedding_size=5)
    assert net(_images(3, shape)).shape == (3, 5)
    channels = [shape[0], width] + [2 * width] * (depth - 1)
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


@pytest.mark.parametrize("argument", ["width", "depth", "embedding_size"])
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


@pytest.mark.parametrize(("net_class", "arguments"), [(MLP, {"dropout": 0.3}), (ConvNet, {"width": 4})])
def test_in_evaluation_an_embedding_does_not_depend_on_the_other_images(
    net_class: type[nn.Module], arguments: dict[str, Any]
) -> None:
    net = net_class((1, 8, 8), embedding_size=8, **arguments)
    images = _images(6, (1, 8, 8))
    net.train()(images)  # so that batch norm has seen something
    net.eval()
    together = net(images)
    alone = torch.cat([net(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize("net_class", [MLP, ConvNet])
def test_every_parameter_gets_a_gradient_and_the_images_stay_as_they_are(net_class: type[nn.Module]) -> None:
    net = net_class((3, 8, 8), embedding_size=8)
    images = _images(6, (3, 8, 8))
    before = images.clone()
    net(images).square().sum().backward()
    assert torch.equal(images, before)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_memory_format_of_a_conv_net_and_of_its_images_changes_no_number(training: bool) -> None:
    net = ConvNet((3, 12, 16), 4, 2, 8)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    net.train(training)
    plain = copy.deepcopy(net.layers).to(memory_format=torch.contiguous_format)
    images = _images(5, (3, 12, 16))
    expected = plain(images)
    torch.testing.assert_close(net(images.contiguous(memory_format=torch.channels_last)), expected)
    torch.testing.assert_close(copy.deepcopy(net)(images), expected)


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
        (ConvNet, {"image_shape": (3, 9, 8), "width": 5, "depth": 2, "embedding_size": 7}),
    ],
)
def test_every_argument_is_kept_under_its_name(net_class: type[nn.Module], arguments: dict[str, Any]) -> None:
    net = net_class(**arguments)
    from_lists = net_class(**{name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()})
    assert set(inspect.signature(net_class).parameters) == set(arguments)
    for name, value in arguments.items():
        assert getattr(net, name) == getattr(from_lists, name) == value


@pytest.mark.parametrize("net_class", [MLP, ConvNet])
def test_the_default_network_fits_the_default_image_shape(net_class: type[nn.Module]) -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(net_class).parameters.items()}
    embeddings = net_class()(_images(2, defaults["image_shape"]))
    assert embeddings.shape == (2, defaults["embedding_size"])
    assert embeddings.dtype == torch.float32
