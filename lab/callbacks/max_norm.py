"""A bound on the norms of weight vectors."""

from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lab.callbacks.forwards import encoders_of

Weights = Literal["incoming", "outgoing"]


class MaxNorm(Callback):
    """After each step of the optimizer, scales weight vectors w of the encoder, or of both, to the length ``max_norm`` at most.

    Srebro and Shraibman, "Rank, Trace-Norm and Max-Norm", 2005; of the weights that come into a unit, as is usual, in
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014, section 5.1.

    Args:
        max_norm: the bound, a positive number.
        weights: the vectors that are bounded: of each unit or channel its ``incoming`` weights, or of each input of a layer the
            ``outgoing`` ones.
    """

    def __init__(self, max_norm: float, weights: Weights = "incoming") -> None:
        if not max_norm > 0:
            raise ValueError(f"callbacks.max_norm must be a positive number, not {max_norm}")
        if weights not in get_args(Weights):
            raise ValueError(f"callbacks.max_norm_weights must be incoming or outgoing, not {weights!r}")
        self.max_norm = max_norm
        self.weights: Weights = weights

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that there is something to bound.

        Raises:
            ValueError: if the encoder has no weight matrix that trains.
        """
        if not self._matrices(pl_module):
            raise ValueError("callbacks.max_norm bounds the weights of the encoder, and it has none that train: set it null")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Bound the weights."""
        with torch.no_grad():
            for weight in self._matrices(pl_module):
                weight.copy_(bounded(weight, self.max_norm, self.weights))

    def _matrices(self, model: LightningModule) -> list[Tensor]:
        encoders = encoders_of(model)
        return [weight for encoder in encoders for weight in encoder.parameters() if weight.ndim > 1 and weight.requires_grad]


def bounded(weight: Tensor, max_norm: float, weights: Weights) -> Tensor:
    """Return a weight (outputs, inputs, ...) whose vectors are no longer than ``max_norm``, as ``MaxNorm`` says."""
    dims = [dim for dim in range(weight.ndim) if dim != (0 if weights == "incoming" else 1)]
    norms: Tensor = torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
    return weight * (max_norm / norms.clamp(min=max_norm))
