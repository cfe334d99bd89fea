"""A convolutional network that learns small photographs fast."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.nets.memory import channels_last_where_safe

STEM_WIDTH = 24  # channels of the first convolution
SCALE = 1 / 9  # of embeddings, so that a linear layer on them learns at the rate of the convolutions


class AirbenchNet(nn.Module):
    """After Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, with another first layer and PyTorch's batch norm.

    Blocks of 3x3 convolution, 2x2 max pooling, batch norm, GELU, and again convolution, batch norm, GELU: most of the work is
    done on images of half the side. A ninth of the maximum over positions is the embedding. Convolutions begin as the identity
    on the channels that come in, the others at random. Here the first layer is a 3x3 convolution with batch norm and GELU
    that is trained as all others are; there it is one of 2x2 that whitens what it sees and is kept, and batch norm has no
    scale.

    Args:
        image_shape: channels, height and width of one image; height and width must be at least ``2 ** len(widths)``.
        widths: channels of each block; the last is the length of the embedding.
    """

    def __init__(self, image_shape: Sequence[int] = (3, 32, 32), widths: Sequence[int] = (64, 256, 256)) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        if min(widths, default=0) < 1:
            raise ValueError(f"AirbenchNet: there must be widths, and each positive, not {list(widths)}")
        if min(height, breadth) < 2 ** len(widths):
            raise ValueError(f"AirbenchNet: {len(widths)} blocks need {2 ** len(widths)} pixels a side, not {height}x{breadth}")
        self.image_shape, self.widths, self.embedding_size = tuple(image_shape), tuple(widths), widths[-1]
        layers: list[nn.Module] = [_convolution(channels, STEM_WIDTH), *_normalized(STEM_WIDTH)]
        channels = STEM_WIDTH
        for width in widths:
            layers += [_convolution(channels, width), nn.MaxPool2d(2), *_normalized(width)]
            layers += [_convolution(width, width), *_normalized(width)]
            channels = width
        sides = (height >> len(widths), breadth >> len(widths))
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(sides), nn.Flatten())
        self.memory_format = channels_last_where_safe(self.layers)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.layers(images.contiguous(memory_format=self.memory_format)) * SCALE
        return embeddings


def _convolution(num_in: int, num_out: int) -> nn.Conv2d:
    convolution = nn.Conv2d(num_in, num_out, kernel_size=3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:num_in])
    return convolution


def _normalized(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(width), nn.GELU()
