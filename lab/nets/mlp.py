"""A fully connected network on the pixels of an image."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected layers with ReLU between them; the last layer is the embedding and has no activation.

    Args:
        image_shape: channels, height and width of one image.
        hidden_sizes: units of each hidden layer, from the first to the last.
        embedding_size: length of the output vector.
        dropout: probability of dropping a hidden unit, in [0, 1).
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        hidden_sizes: Sequence[int] = (128, 128),
        embedding_size: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"MLP: dropout must be in [0, 1), not {dropout}")
        if min([embedding_size, *hidden_sizes]) < 1:
            raise ValueError(f"MLP: hidden_sizes {list(hidden_sizes)} and embedding_size {embedding_size} must be positive")
        self.image_shape = tuple(image_shape)
        self.hidden_sizes = tuple(hidden_sizes)
        self.embedding_size = embedding_size
        self.dropout = dropout
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(self.image_shape)
        for hidden_size in self.hidden_sizes:
            layers += [nn.Linear(size, hidden_size), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            size = hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(size, embedding_size))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.layers(images)
        return embeddings
