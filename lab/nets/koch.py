"""The siamese network of the Omniglot experiments."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.nets.memory import channels_last_where_safe


class KochNet(nn.Module):
    """Koch, Zemel and Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition", 2015.

    Convolutions 64@10x10, 128@7x7, 128@4x4 and 256@4x4, each with ReLU and all but the last with 2x2 max pooling, then a
    dense layer with sigmoid. On one channel of 105x105 pixels, with the logistic head of ``Siamese``, it has 38,951,745
    parameters. Weights start as N(0, 0.01^2), biases as N(0.5, 0.01^2), those of the dense layer too, where the paper draws
    from a wider distribution.

    Args:
        image_shape: channels, height and width of one image; at least 65 pixels a side.
        embedding_size: units of the dense layer.
        convolution_penalty: factor of the squared weights of the convolutions that is added to the loss.
        dense_penalty: the same of the dense layer.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 105, 105),
        embedding_size: int = 4096,
        convolution_penalty: float = 2e-4,
        dense_penalty: float = 1e-3,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        for kernel, pool in ((10, 2), (7, 2), (4, 2), (4, 1)):
            sides = [(side - kernel + 1) // pool for side in sides]
        if min(sides) < 1:
            raise ValueError(f"KochNet: the images, {image_shape[1]}x{image_shape[2]}, must have 65 pixels a side or more")
        if embedding_size < 1:
            raise ValueError(f"KochNet: embedding_size {embedding_size} must be positive")
        self.image_shape = tuple(image_shape)
        self.embedding_size = embedding_size
        self.convolution_penalty = convolution_penalty
        self.dense_penalty = dense_penalty
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 64, 10), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 7), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(128, 128, 4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(128, 256, 4), nn.ReLU(),
        )  # fmt: skip
        self.memory_format = channels_last_where_safe(self.convolutions)
        self.dense = nn.Linear(256 * sides[0] * sides[1], embedding_size)
        for layer in (*self.convolutions, self.dense):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                initialize_as_koch(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size) in (0, 1)."""
        features = self.convolutions(images.contiguous(memory_format=self.memory_format))
        return torch.sigmoid(self.dense(features.flatten(1)))

    def penalty(self) -> Tensor:
        """Return what is added to the loss of a batch, a scalar."""
        convolutions = torch.stack([layer.weight.square().sum() for layer in self.convolutions if isinstance(layer, nn.Conv2d)])
        return self.convolution_penalty * convolutions.sum() + self.dense_penalty * self.dense.weight.square().sum()


def initialize_as_koch(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw weights from N(0, 0.01^2) and biases from N(0.5, 0.01^2)."""
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, mean=0.5, std=0.01)
