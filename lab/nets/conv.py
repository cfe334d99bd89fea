"""A small convolutional network."""

from collections.abc import Sequence

from torch import Tensor, nn

from lab.nets.layers import Dropout
from lab.nets.memory import channels_last_where_safe


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 max pooling, then one linear layer to the embedding.

    Args:
        image_shape: channels, height and width of one image; height and width must be at least ``2 ** depth``.
        width: channels of the first block.
        later_width: channels of every later block; None for twice as many.
        depth: number of blocks; each halves height and width.
        embedding_size: length of the output vector.

    The default, 32-64-64 channels with 64 dimensions, is the usual small encoder of the few-shot literature
    (Vinyals et al., "Matching Networks for One Shot Learning", 2016, with one block less).
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        width: int = 32,
        depth: int = 3,
        embedding_size: int = 64,
        later_width: int | None = None,
    ) -> None:
        super().__init__()
        later = 2 * width if later_width is None else later_width
        if min(width, depth, embedding_size, later) < 1:
            raise ValueError(
                f"ConvNet: width {width}, depth {depth}, embedding_size {embedding_size} and later_width {later} must be "
                "positive"
            )
        channels, height, breadth = image_shape
        if min(height, breadth) < 2**depth:
            raise ValueError(
                f"ConvNet: depth {depth} halves the image {depth} times and needs {2**depth} pixels a side; "
                f"the images are {height}x{breadth}"
            )
        self.image_shape = tuple(image_shape)
        self.width = width
        self.depth = depth
        self.embedding_size = embedding_size
        self.later_width = later_width
        blocks: list[nn.Module] = []
        for block in range(depth):
            out_channels = width if block == 0 else later
            blocks += [
                # Batch norm subtracts the mean, so a bias before it would do nothing.
                nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels = out_channels
        flat_size = channels * (height >> depth) * (breadth >> depth)
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(flat_size, embedding_size))
        self.memory_format = channels_last_where_safe(self.layers)  # two thirds of the time on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.layers(images.contiguous(memory_format=self.memory_format))
        return embeddings


class DeepConvNet(nn.Module):
    """Blocks of 3x3 convolutions with ReLU and 2x2 max pooling, a dense layer with dropout, then the embedding.

    The default, 32-32-pool-64-64-pool and 512 dense units, is the small convolutional network of the Keras examples
    (Simonyan and Zisserman, "Very Deep Convolutional Networks ...", 2015, in small).

    Args:
        image_shape: channels, height and width of one image.
        widths: channels of the convolutions of each block; each block halves height and width.
        num_convolutions: convolutions in each block.
        hidden_size: units of the dense layer.
        dropout: probability of dropping one of them, in [0, 1).
        embedding_size: length of the output vector.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 80, 80),
        widths: Sequence[int] = (32, 64),
        num_convolutions: int = 2,
        hidden_size: int = 512,
        dropout: float = 0.4,
        embedding_size: int = 128,
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        if min([*widths, num_convolutions, hidden_size, embedding_size]) < 1 or not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"DeepConvNet: widths {list(widths)}, num_convolutions {num_convolutions}, hidden_size {hidden_size} and "
                f"embedding_size {embedding_size} must be positive, and dropout {dropout} in [0, 1)"
            )
        if min(height, breadth) < 2 ** len(widths):
            raise ValueError(f"DeepConvNet: {len(widths)} blocks need {2 ** len(widths)} pixels a side, not {height}x{breadth}")
        self.image_shape = tuple(image_shape)
        self.widths = tuple(widths)
        self.num_convolutions = num_convolutions
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.embedding_size = embedding_size
        layers: list[nn.Module] = []
        for width in self.widths:
            for _ in range(num_convolutions):
                layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        flat_size = channels * (height >> len(self.widths)) * (breadth >> len(self.widths))
        layers += [nn.Flatten(), nn.Linear(flat_size, hidden_size), nn.ReLU(), Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_size, embedding_size))
        self.memory_format = channels_last_where_safe(self.layers)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.layers(images.contiguous(memory_format=self.memory_format))
        return embeddings
