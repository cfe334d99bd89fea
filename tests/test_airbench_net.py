import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.nets import AirbenchNet


@pytest.fixture(autouse=True)
def _seeded_weights() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _normalized(values: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), correction=0, keepdim=True)
    scaled = (values - mean) / (variance + norm.eps).sqrt() * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    return scaled * 0.5 * (1 + torch.erf(scaled / 2**0.5))  # GELU


@pytest.mark.parametrize(("shape", "widths"), [((3, 16, 20), (4, 6)), ((1, 9, 13), (5,)), ((3, 32, 32), (30, 8, 7))])
def test_the_network_is_its_stem_and_blocks_that_pool_before_they_normalize(
    shape: tuple[int, int, int], widths: tuple[int, ...]
) -> None:
    net, images = AirbenchNet(shape, widths), torch.rand(6, *shape)
    for parameter in net.parameters():
        parameter.data.normal_()
    convolutions = iter([part for part in net.modules() if isinstance(part, nn.Conv2d)])
    norms = iter([part for part in net.modules() if isinstance(part, nn.BatchNorm2d)])

    def convolved(values: Tensor, width: int) -> Tensor:
        weight = next(convolutions).weight
        assert weight.shape == (width, values.shape[1], 3, 3)
        return nn.functional.conv2d(values, weight, padding=1)

    values = _normalized(convolved(images, 24), next(norms))
    for width in widths:
        values = _normalized(nn.functional.max_pool2d(convolved(values, width), 2), next(norms))
        values = _normalized(convolved(values, width), next(norms))
    assert next(convolutions, None) is None
    expected = values.amax((2, 3)) / 9
    torch.testing.assert_close(net(images), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    assert net.embedding_size == widths[-1]


def test_convolutions_begin_as_the_identity_on_what_comes_in_and_at_random_beside_it() -> None:
    images = torch.rand(2, 3, 8, 8)
    for part in AirbenchNet((3, 8, 8), (30, 30)).modules():
        if isinstance(part, nn.Conv2d):
            values = images.repeat(1, 10, 1, 1)[:, : part.in_channels]
            torch.testing.assert_close(part(values)[:, : part.in_channels], values)
            assert all(others.std() > 0 for others in part(values)[:, part.in_channels :].unbind(1))


@pytest.mark.parametrize("widths", [[], [4, 0], [-1]])
def test_widths_that_are_not_positive_are_refused(widths: list[int]) -> None:
    complaint = f"AirbenchNet: there must be widths, and each positive, not {widths}"
    with pytest.raises(ValueError, match=rf"^{re.escape(complaint)}$"):
        AirbenchNet(widths=widths)


def test_an_image_too_small_for_the_blocks_is_refused_with_the_size_it_needs() -> None:
    assert AirbenchNet((1, 4, 5), (3, 2))(torch.rand(2, 1, 4, 5)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"^AirbenchNet: 2 blocks need 4 pixels a side, not 9x3$"):
        AirbenchNet((1, 9, 3), (3, 2))
