"""What is timed: training in four ways, written once in plain PyTorch, and the same by a config of this codebase."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lab.nets import MLP, ConvNet, ResidualNet

Accelerator = Literal["cpu", "gpu"]  # as Lightning calls it
MARGIN = 1.0  # of the contrastive loss
NUM_CLASSES = {"digits": 10, "pictures": 35}
SIDE = 112  # of pictures


@dataclass(frozen=True)
class Case:
    """Training that is timed.

    Args:
        name: of the case.
        about: what it is.
        config: file below ``configs``; options: what is added to it, so that it is what the others do.
        data: ``digits``, 60,000 of 28 x 28, or ``pictures`` in a folder, of 35 classes.
        order: batches of images at random, of ``pairs``, of which the first half of a batch belongs to the second, one by one,
            or of ``classes``, with 8 images each.
        batch_size: images a step.
        network: makes the network.
        loss: of outputs (N, ...) and labels (N,), and of a batch of pairs whether each is of one class (N / 2,).
        optimizer: makes the optimizer.
        num_steps: an epoch has; None for as many as there are batches of all images.
        targets: by peer, how many times its time this codebase may take.
        accelerator: what trains.
    """

    name: str
    about: str
    config: str
    data: Literal["digits", "pictures"]
    order: Literal["random", "pairs", "classes"]
    batch_size: int
    network: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: partial[Any]
    options: dict[str, str] = field(default_factory=dict)
    num_steps: int | None = None
    targets: dict[str, float] = field(default_factory=dict)
    accelerator: Accelerator = "cpu"

    @property
    def device(self) -> torch.device:
        """Where its tensors lie."""
        return device_of(self.accelerator)


def device_of(accelerator: Accelerator) -> torch.device:
    """Return where tensors lie that an accelerator computes with."""
    return torch.device("cuda" if accelerator == "gpu" else "cpu")


class Halves(nn.Module):
    """Upper and lower half through one matrix, added up (S1)."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(392, 10, bias=False)
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of images (N, 1, 28, 28)."""
        halves = self.shared(images.reshape(len(images), 2, 392))
        logits: Tensor = halves.sum(1) + self.bias
        return logits


def contrastive(embeddings: Tensor, same: Tensor) -> Tensor:
    """Return the contrastive loss of pairs: embeddings (2 M, D), the first half beside the second, same (M,)."""
    first, second = embeddings.chunk(2)
    distances = (first - second).square().sum(1).clamp(min=1e-12).sqrt()
    loss: Tensor = torch.where(same, distances.square(), (MARGIN - distances).clamp(min=0).square()).mean()
    return loss


def batch_hard(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of the hardest triplet of each image, with a soft margin."""
    squared = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels.unsqueeze(1) == labels
    hardest_positive = squared.masked_fill(~same, -torch.inf).amax(1)
    hardest_negative = squared.masked_fill(same, torch.inf).amin(1)
    loss: Tensor = nn.functional.softplus(hardest_positive - hardest_negative).mean()
    return loss


CASES = {
    case.name: case
    for case in (
        Case(
            "p2", "siamese 784-128-128-128, 128 pairs a step", "experiments/p2.yaml", "digits", "pairs", 256,
            partial(MLP, (1, 28, 28), [128, 128], 128, activate_last=True, dropout=0.1), contrastive,
            partial(torch.optim.RMSprop, lr=1e-3), {"model.num_pairs": "128"},
            targets={"bare": 1.25, "stock": 0.2, "keras": 1.0},
        ),
        Case(
            "s1", "both halves of a digit through one matrix, 32 images a step", "experiments/s1.yaml", "digits", "random", 32,
            Halves, nn.functional.cross_entropy, partial(torch.optim.Adam, lr=3e-4), targets={"bare": 1.5, "stock": 0.2},
        ),
        Case(
            "t1", "batch-hard triplets, 48-96-96 convolutions, 10 classes x 8 images a step", "experiments/t1.yaml", "digits",
            "classes", 80, partial(ConvNet, (1, 28, 28), 48), batch_hard, partial(torch.optim.Adam, lr=1e-3),
            {"model.scheduler": "null", "data.augmentation": "null", "data.normalization": "unit"}, 200, {"bare": 1.05},
        ),
        Case(
            "residual", f"residual network on a folder of pictures at {SIDE} pixels, 32 images a step", "experiments/d1.yaml",
            "pictures", "random", 32,
            lambda: nn.Sequential(ResidualNet((3, SIDE, SIDE), "basic", (1, 1, 1, 1), 32), nn.Linear(256, 35)),
            nn.functional.cross_entropy, partial(torch.optim.SGD, lr=0.01),
            {"model.scheduler": "null", "model.encoder.block": "basic", "data.normalization": "unit"}, targets={"bare": 1.05},
        ),
    )
}  # fmt: skip
