"""What stands on top of an encoder: class logits of an embedding, or one number of two embeddings."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lab.nets.koch import initialize_as_koch

ClassHead = Literal["linear", "unit_linear", "bias", "none"]


def class_head(kind: ClassHead, size: int, num_classes: int, num_parts: int = 1) -> nn.Module:
    """Make the part from outputs (N, size) to logits (N, num_classes).

    Args:
        kind: ``linear`` for a linear layer with bias, ``unit_linear`` for one of the outputs scaled to length 1, ``bias`` for a
            bias alone, ``none`` for the outputs as they are.
        size: length of an output; ``num_classes`` unless the head is linear.
        num_classes: number of classes.
        num_parts: how many embeddings an output is made of, side by side.

    Raises:
        ValueError: if the outputs are not as many as the classes and no linear layer would make them so.
    """
    if kind not in get_args(ClassHead):
        raise ValueError(f"model.head must be linear, unit_linear, bias or none, not {kind!r}")
    if kind in ("linear", "unit_linear"):
        return (nn.Linear if kind == "linear" else UnitLinear)(size, num_classes)
    if size != num_classes:
        fits = num_classes % num_parts == 0
        advice = f"model.encoder.embedding_size {num_classes // num_parts}" if fits else "model.merge sum or mean"
        raise ValueError(
            f"with model.head {kind} the outputs of the encoder are the class scores, but there are {size} of them and "
            f"{num_classes} classes: set {advice}"
        )
    return Bias(size) if kind == "bias" else nn.Identity()


class UnitLinear(nn.Linear):
    """A linear layer of vectors scaled to length 1, as those are compared that the cosine distance has trained."""

    def forward(self, input: Tensor) -> Tensor:
        """Return outputs (N, num_out) of vectors (N, num_in)."""
        return super().forward(nn.functional.normalize(input, dim=1))


class Bias(nn.Module):
    """A trainable bias, 0 at first, added to vectors (N, size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, vectors: Tensor) -> Tensor:
        """Add the bias."""
        return vectors + self.bias


class LogisticUnit(nn.Module):
    """Koch et al. (2015): the logit that two images are of one class, ``w . |h1 - h2| + b``.

    Args:
        embedding_size: length of an embedding h.
    """

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(embedding_size, 1)
        initialize_as_koch(self.layer)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return logits (M,) of embeddings (M, D) and those (M, D) beside them."""
        logits: Tensor = self.layer((first - second).abs()).squeeze(1)
        return logits
