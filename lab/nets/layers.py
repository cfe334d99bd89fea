"""Layers by name."""

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "elu", "tanh", "sigmoid"]
LEVELS = 2**16  # of a random number of 16 bits
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def activation_layer(name: Activation) -> nn.Module:
    """Make an activation.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name]()


class Dropout(nn.Dropout):
    """PyTorch's dropout; on a CPU in half the time, as four units share a random number: ``p`` is rounded to 1 / 65536."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with units dropped, in training, and the others scaled up by as much."""
        num_dropped = round(self.p * LEVELS)
        if not self.training or input.device.type != "cpu" or not 0 < num_dropped < LEVELS:
            return super().forward(input)
        drawn = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        levels = drawn.view(torch.int16)[: input.numel()].view(input.shape).float()  # whole, from -LEVELS / 2
        is_kept = levels.sub_(num_dropped - LEVELS // 2 - 1).clamp_(0, 1)  # in floats, as comparing takes longer
        return input * is_kept.mul_(LEVELS / (LEVELS - num_dropped)).to(input.dtype)
