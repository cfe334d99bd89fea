"""Networks of residual blocks."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from lab.nets.memory import channels_last_where_safe

Block = Literal["plain", "basic", "bottleneck"]


class ResidualNet(nn.Module):
    """He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016: y = ReLU(F(x) + x).

    F is two 3x3 convolutions (``basic``) or 1x1, 3x3 and 1x1 with a quarter of the channels inside (``bottleneck``), each
    with batch norm. ``plain`` is ``basic`` without "+ x", the paper's own comparison. Stages after the first halve the image
    and double the channels; the mean over positions is the embedding. Images over 64 pixels a side start with the paper's
    7x7 convolution of stride 2 and pooling, smaller ones with a 3x3 convolution (as in its CIFAR networks).

    Args:
        image_shape: channels, height and width of one image, 32 to 224 pixels a side or so.
        block: ``plain``, ``basic`` or ``bottleneck``.
        num_blocks: blocks of each stage.
        width: channels of the first stage.
        embedding_size: length of the output vector, made by a linear layer where it is not the channels of the last stage;
            None for these.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 32, 32),
        block: Block = "basic",
        num_blocks: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__()
        if block not in get_args(Block):
            raise ValueError(f"ResidualNet: block must be one of {', '.join(get_args(Block))}, not {block!r}")
        if width < 4 or min(num_blocks, default=0) < 1 or (embedding_size is not None and embedding_size < 1):
            raise ValueError(
                f"ResidualNet: width {width} must be 4 or more, and each of num_blocks {list(num_blocks)} and embedding_size "
                f"{embedding_size} positive"
            )
        channels, height, breadth = image_shape
        large = min(height, breadth) > 64
        self.image_shape = tuple(image_shape)
        self.block = block
        self.num_blocks = tuple(num_blocks)
        self.width = width
        layers: list[nn.Module] = [_convolution(channels, width, 7 if large else 3, stride=2 if large else 1), nn.ReLU()]
        if large:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        num_in = width
        for stage, num in enumerate(self.num_blocks):
            num_out = width * 2**stage
            for i in range(num):
                layers.append(ResidualBlock(num_in, num_out, block, stride=2 if stage and i == 0 else 1))
                num_in = num_out
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.embedding_size = embedding_size or num_in
        self.projection = nn.Identity() if self.embedding_size == num_in else nn.Linear(num_in, self.embedding_size)
        self.memory_format = channels_last_where_safe(self.layers)  # three quarters of the time on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.projection(self.layers(images.contiguous(memory_format=self.memory_format)))
        return embeddings


class ResidualBlock(nn.Module):
    """One block; where its output has another shape, a 1x1 convolution takes the place of the shortcut.

    Args:
        num_in: channels that go in.
        num_out: channels that come out.
        block: ``plain``, ``basic`` or ``bottleneck``.
        stride: by which height and width shrink.
    """

    def __init__(self, num_in: int, num_out: int, block: Block, stride: int) -> None:
        super().__init__()
        if block == "bottleneck":
            inside = num_out // 4
            self.body = nn.Sequential(
                _convolution(num_in, inside, 1), nn.ReLU(), _convolution(inside, inside, 3, stride), nn.ReLU(),
                _convolution(inside, num_out, 1),
            )  # fmt: skip
        else:
            self.body = nn.Sequential(_convolution(num_in, num_out, 3, stride), nn.ReLU(), _convolution(num_out, num_out, 3))
        self.shortcut: nn.Module | None = None
        if block != "plain":
            same_shape = num_in == num_out and stride == 1
            self.shortcut = nn.Identity() if same_shape else _convolution(num_in, num_out, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, num_out, H / stride, W / stride) of features (N, num_in, H, W)."""
        features: Tensor = self.body(images)
        return nn.functional.relu(features if self.shortcut is None else features + self.shortcut(images))


def _convolution(num_in: int, num_out: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm, whose bias makes another needless."""
    convolution = nn.Conv2d(num_in, num_out, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(num_out))
