"""Fully connected networks on the pixels of an image."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lab.nets.layers import Activation, Dropout, activation_layer

Initialization = Literal["pytorch", "he_normal", "glorot_uniform", "truncated_normal"]


class MLP(nn.Module):
    """Fully connected layers: linear, batch norm, activation, dropout; the last layer gives the embedding.

    Args:
        image_shape: channels, height and width of one image.
        hidden_sizes: units of each hidden layer, from the first to the last.
        embedding_size: length of the output vector.
        activation: ``relu``, ``elu``, ``tanh`` or ``sigmoid``, after each hidden layer.
        activate_last: after the last layer too.
        batch_norm: after the linear part of ``hidden`` layers, of ``all``, or of ``none``.
        batch_norm_epsilon: added to the variance.
        dropout: probability of dropping a hidden unit, in [0, 1).
        bias: whether the linear layers have one.
        initialization: of the weights: as ``pytorch`` does; ``he_normal``, N(0, 2 / fan in) (He et al., 2015);
            ``glorot_uniform`` (Glorot and Bengio, 2010); or ``truncated_normal`` of variance 1 / fan in, cut at two
            standard deviations (LeCun et al., "Efficient BackProp", 1998). Biases are then 0.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        hidden_sizes: Sequence[int] = (128, 128),
        embedding_size: int = 128,
        activation: Activation = "relu",
        activate_last: bool = False,
        batch_norm: Literal["none", "hidden", "all"] = "none",
        batch_norm_epsilon: float = 1e-5,
        dropout: float = 0.0,
        bias: bool = True,
        initialization: Initialization = "pytorch",
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"MLP: dropout must be in [0, 1), not {dropout}")
        if min([embedding_size, *hidden_sizes]) < 1:
            raise ValueError(f"MLP: hidden_sizes {list(hidden_sizes)} and embedding_size {embedding_size} must be positive")
        if initialization not in get_args(Initialization) or batch_norm not in ("none", "hidden", "all"):
            raise ValueError(f"MLP: there is no initialization {initialization!r} or no batch_norm {batch_norm!r}")
        self.image_shape = tuple(image_shape)
        self.hidden_sizes = tuple(hidden_sizes)
        self.embedding_size = embedding_size
        self.activation, self.activate_last = activation, activate_last
        self.batch_norm, self.batch_norm_epsilon = batch_norm, batch_norm_epsilon
        self.dropout, self.bias, self.initialization = dropout, bias, initialization
        layers: list[nn.Module] = [nn.Flatten()]
        sizes = [math.prod(self.image_shape), *self.hidden_sizes, embedding_size]
        for i, (num_inputs, num_outputs) in enumerate(itertools.pairwise(sizes)):
            hidden = i < len(self.hidden_sizes)
            layers.append(nn.Linear(num_inputs, num_outputs, bias))
            if batch_norm == "all" or (batch_norm == "hidden" and hidden):
                layers.append(nn.BatchNorm1d(num_outputs, eps=batch_norm_epsilon))
            if hidden or activate_last:
                layers.append(activation_layer(activation))
            if hidden and dropout:
                layers.append(Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        for layer in (layer for layer in self.layers if isinstance(layer, nn.Linear)):
            initialize(layer, initialization)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.layers(images)
        return embeddings


def initialize(layer: nn.Linear, how: Initialization) -> None:
    """Draw the weights of a linear layer anew, and set its bias to 0, but for ``pytorch``, which leaves them as they are."""
    if how == "pytorch":
        return
    if how == "he_normal":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    elif how == "glorot_uniform":
        nn.init.xavier_uniform_(layer.weight)
    else:
        # Cutting a normal distribution at two standard deviations leaves 0.8796 of the standard deviation.
        spread = math.sqrt(1.0 / layer.in_features) / 0.87962566103423978
        nn.init.trunc_normal_(layer.weight, std=spread, a=-2 * spread, b=2 * spread)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class TwoLayerNet(nn.Module):
    """max(0, x W1 + b1) W2 + b2, with ``regularization * (||W1||^2 + ||W2||^2)`` added to the loss.

    The network of assignment 1 of Stanford's CS231n. Without a head (``model.head none``) its outputs are the class scores.

    Args:
        image_shape: channels, height and width of one image.
        hidden_size: units between the layers.
        embedding_size: length of the output vector.
        weight_scale: standard deviation of the initial weights, N(0, weight_scale^2); biases are 0.
        regularization: factor of the squared weights, without a half, 0 or more.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (3, 32, 32),
        hidden_size: int = 50,
        embedding_size: int = 10,
        weight_scale: float = 1e-4,
        regularization: float = 0.0,
    ) -> None:
        super().__init__()
        if min(hidden_size, embedding_size) < 1 or regularization < 0:
            raise ValueError(
                f"TwoLayerNet: hidden_size {hidden_size} and embedding_size {embedding_size} must be positive, and "
                f"regularization {regularization} not negative"
            )
        self.image_shape = tuple(image_shape)
        self.hidden_size = hidden_size
        self.embedding_size = embedding_size
        self.weight_scale = weight_scale
        self.regularization = regularization
        self.hidden = nn.Linear(math.prod(self.image_shape), hidden_size)
        self.output = nn.Linear(hidden_size, embedding_size)
        for layer in (self.hidden, self.output):
            nn.init.normal_(layer.weight, std=weight_scale)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as vectors (N, embedding_size)."""
        embeddings: Tensor = self.output(torch.relu(self.hidden(images.flatten(1))))
        return embeddings

    def penalty(self) -> Tensor:
        """Return what is added to the loss of a batch, a scalar."""
        return self.regularization * (self.hidden.weight.square().sum() + self.output.weight.square().sum())
