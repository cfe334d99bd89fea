import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck

from lab.nets import KochNet, ResidualNet
from lab.nets.heads import LogisticUnit
from lab.nets.koch import initialize_as_koch
from lab.nets.residual import Block, ResidualBlock


@pytest.fixture(autouse=True)
def _seeded_weights() -> Iterator[None]:
    """Weights draw from the global generator; leave it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _images(number: int, *shape: int) -> Tensor:
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(1))


def _num_parameters(*nets: nn.Module) -> int:
    return sum(parameter.numel() for net in nets for parameter in net.parameters())


def _copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one network to those of another, the first to the first and so on."""
    target.load_state_dict(dict(zip(target.state_dict(), source.state_dict().values(), strict=True)))


def _resnet_without_last_layer() -> nn.Module:
    net: nn.Module = models.resnet18(weights=None)
    net.fc = nn.Identity()
    return net


def test_a_residual_net_of_basic_blocks_has_the_parameters_of_resnet_18_without_its_last_layer() -> None:
    with torch.device("meta"):
        net = ResidualNet((3, 224, 224), "basic", (2, 2, 2, 2))
        resnet = _resnet_without_last_layer()
    assert _num_parameters(net) == _num_parameters(resnet) == 11_176_512
    assert [tuple(p.shape) for p in net.parameters()] == [tuple(p.shape) for p in resnet.parameters()]


@pytest.mark.parametrize("training", [True, False])
def test_a_residual_net_with_the_weights_of_resnet_18_computes_what_that_does(training: bool) -> None:
    net, resnet = ResidualNet((3, 224, 224)).double().train(training), _resnet_without_last_layer().double().train(training)
    _copy_in_order(resnet, net)
    images = _images(2, 3, 96, 80).double()  # they add up in another order, of which float32 would show the rounding
    torch.testing.assert_close(net(images), resnet(images))
    states = zip(net.state_dict().values(), resnet.state_dict().values(), strict=True)
    assert all(torch.allclose(ours, theirs) for ours, theirs in states)


def test_the_convolutions_of_a_residual_net_start_as_those_of_resnet_18() -> None:
    for ours, theirs in zip(ResidualNet((3, 224, 224)).parameters(), _resnet_without_last_layer().parameters(), strict=True):
        if ours.dim() == 4:
            assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
            assert ours.std().item() == pytest.approx(math.sqrt(2 / (ours.shape[0] * ours[0, 0].numel())), rel=0.05)
        else:
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("num_in", "stride"), [(16, 1), (16, 2), (8, 1), (8, 2)])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_block_is_the_block_of_torchvision(block: Block, num_in: int, stride: int) -> None:
    ours = ResidualBlock(num_in, 16, block, stride)
    shortcut = None
    if num_in != 16 or stride != 1:
        shortcut = nn.Sequential(nn.Conv2d(num_in, 16, 1, stride, bias=False), nn.BatchNorm2d(16))
    theirs: nn.Module = (
        BasicBlock(num_in, 16, stride, shortcut) if block == "basic" else Bottleneck(num_in, 4, stride, shortcut)
    )
    _copy_in_order(ours, theirs)
    features = _images(3, num_in, 9, 8) - 0.5
    torch.testing.assert_close(ours(features), theirs(features))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_plain_block_is_a_basic_one_without_a_shortcut(stride: int) -> None:
    plain, basic = ResidualBlock(8, 8, "plain", stride), ResidualBlock(8, 8, "basic", stride)
    assert _num_parameters(plain) == _num_parameters(basic.body)
    plain.body.load_state_dict(basic.body.state_dict())
    features = _images(3, 8, 6, 6) - 0.5
    torch.testing.assert_close(plain(features), plain.body(features).relu())
    assert basic.shortcut is not None
    torch.testing.assert_close(basic(features), (plain.body(features) + basic.shortcut(features)).relu())


def test_a_plain_net_has_no_parameters_in_shortcuts() -> None:
    plain, basic = ResidualNet(block="plain"), ResidualNet(block="basic")
    assert not [name for name, _ in plain.named_parameters() if "shortcut" in name]
    shortcuts = [parameter for name, parameter in basic.named_parameters() if "shortcut" in name]
    assert sum(parameter.numel() for parameter in shortcuts) == sum(2 * n * n + 2 * 2 * n for n in (64, 128, 256))
    assert _num_parameters(basic) - _num_parameters(plain) == sum(parameter.numel() for parameter in shortcuts)
    body = [parameter.shape for name, parameter in basic.named_parameters() if "shortcut" not in name]
    assert [parameter.shape for parameter in plain.parameters()] == body


@pytest.mark.parametrize("side", [8, 32, 64, 65, 80, 112, 224])
@pytest.mark.parametrize("block", ["plain", "basic", "bottleneck"])
def test_images_from_small_to_224_pixels_a_side_are_embedded(block: Block, side: int) -> None:
    net = ResidualNet((1, side, side), block, (1, 1, 1, 1), width=4)
    embeddings = net(_images(2, 1, side, side))
    assert embeddings.shape == (2, net.embedding_size) == (2, 32)
    assert embeddings.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "sides"), [((3, 64, 64), (64, 32, 16)), ((3, 65, 70), (17, 9, 5)), ((3, 64, 99), (64, 32, 16))]
)
def test_only_images_over_64_pixels_a_side_are_made_smaller_before_the_first_block(
    shape: tuple[int, int, int], sides: tuple[int, ...]
) -> None:
    net = ResidualNet(shape, num_blocks=(1, 1, 1), width=4)
    heights = []
    for block in (module for module in net.modules() if isinstance(module, ResidualBlock)):
        block.register_forward_hook(lambda module, inputs, output: heights.append(output.shape[2]))
    net(_images(1, *shape).expand(2, -1, -1, -1))
    assert tuple(heights) == sides


def test_an_embedding_size_adds_a_linear_layer_where_the_channels_are_not_as_many() -> None:
    features, embedded = ResidualNet(num_blocks=(1, 1), width=4), ResidualNet(num_blocks=(1, 1), width=4, embedding_size=5)
    assert features.embedding_size == 8
    assert embedded(_images(2, 3, 32, 32)).shape == (2, 5)
    assert _num_parameters(embedded) - _num_parameters(features) == 8 * 5 + 5
    same = ResidualNet(num_blocks=(1, 1), width=4, embedding_size=8)
    assert _num_parameters(same) == _num_parameters(features)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"block": "wide"}, "block must be one of plain, basic, bottleneck, not 'wide'"),
        ({"num_blocks": ()}, r"num_blocks \[\]"),
        ({"num_blocks": (2, 0)}, r"num_blocks \[2, 0\]"),
        ({"width": 3}, "width 3 must be 4 or more"),
        ({"embedding_size": 0}, "embedding_size 0"),
    ],
)
def test_a_residual_net_refuses_what_makes_no_network(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^ResidualNet: .*{message}"):
        ResidualNet(**wrong)  # type: ignore[arg-type]


def test_the_network_of_koch_and_others_has_the_parameters_it_is_known_to_have() -> None:
    with torch.device("meta"):
        assert _num_parameters(KochNet((1, 105, 105)), LogisticUnit(4096)) == 38_951_745


def test_the_network_of_koch_and_others_is_its_convolutions_and_a_sigmoid_layer() -> None:
    net = KochNet((2, 70, 66), embedding_size=5)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)
    images = _images(3, 2, 70, 66)
    values = images
    convolutions = [layer for layer in net.convolutions if isinstance(layer, nn.Conv2d)]
    assert [tuple(layer.weight.shape) for layer in convolutions] == [
        (64, 2, 10, 10),
        (128, 64, 7, 7),
        (128, 128, 4, 4),
        (256, 128, 4, 4),
    ]
    for i, layer in enumerate(convolutions):
        values = nn.functional.conv2d(values, layer.weight, layer.bias).clamp(min=0)
        if i < 3:
            values = nn.functional.max_pool2d(values, 2)
    expected = 1 / (1 + torch.exp(-(values.reshape(3, -1) @ net.dense.weight.T + net.dense.bias)))
    torch.testing.assert_close(net(images), expected)


def test_weights_of_koch_and_others_start_around_zero_and_biases_around_a_half() -> None:
    layer = nn.Linear(1000, 2000)
    initialize_as_koch(layer)
    net, head = KochNet((1, 65, 65), embedding_size=512), LogisticUnit(4096)
    for name, drawn in [*layer.named_parameters(), *net.named_parameters(), *head.named_parameters()]:
        mean = 0.5 if name.endswith("bias") else 0.0
        error = 0.01 / drawn.numel() ** 0.5
        assert (drawn.mean() - mean).abs() < 5 * error, name
        if drawn.numel() > 1:
            assert (drawn.std() - 0.01).abs() < 5 * error, name


def test_a_layer_without_a_bias_can_start_as_koch_and_others_say() -> None:
    layer = nn.Linear(100, 100, bias=False)
    initialize_as_koch(layer)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_the_penalty_of_the_network_of_koch_and_others_is_that_of_its_weights_one_by_one() -> None:
    net = KochNet((1, 65, 65), embedding_size=3, convolution_penalty=0.2, dense_penalty=0.7)
    expected = 0.0
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            factor = 0.7 if name.startswith("dense") else 0.2
            for value in parameter.flatten().tolist():
                expected += factor * value * value
    assert net.penalty().item() == pytest.approx(expected, rel=1e-5)
    net.penalty().backward()
    assert net.dense.weight.grad is not None
    torch.testing.assert_close(net.dense.weight.grad, 2 * 0.7 * net.dense.weight.detach())
    assert net.dense.bias.grad is None


@pytest.mark.parametrize("shape", [(1, 65, 65), (3, 65, 80)])
def test_the_smallest_image_for_the_network_of_koch_and_others_has_65_pixels_a_side(shape: tuple[int, int, int]) -> None:
    assert KochNet(shape, embedding_size=3)(_images(2, *shape)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"^KochNet: the images, 64x80, must have 65 pixels a side or more$"):
        KochNet((1, 64, 80))
    with pytest.raises(ValueError, match=r"65x28"):
        KochNet((1, 65, 28))


def test_the_network_of_koch_and_others_refuses_an_embedding_of_no_length() -> None:
    with pytest.raises(ValueError, match=r"^KochNet: embedding_size 0 must be positive$"):
        KochNet(embedding_size=0)


def test_a_logistic_unit_weighs_how_far_two_embeddings_are_apart() -> None:
    unit = LogisticUnit(4)
    first, second = _images(5, 4), _images(10, 4)[5:]
    weights, bias = unit.layer.weight[0].tolist(), unit.layer.bias.item()
    expected = [
        sum(w * abs(a - b) for w, a, b in zip(weights, *pair, strict=True)) + bias
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert unit(first, second).tolist() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(unit(first, second), unit(second, first))
    assert unit(first, first).tolist() == pytest.approx([bias] * 5)
    assert unit(first[:1], second[:1]).shape == (1,)
