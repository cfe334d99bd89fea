"""The same training by a bare loop over tensors in memory, without Lightning, which nothing can be much faster than."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.benchmark.cases import SIDE, Case
from lab.benchmark.clock import Clock
from lab.benchmark.data import digits

SAMPLES_PER_CLASS = 8


def bare(case: Case, root: Path, clock: Clock) -> None:
    """Train by a loop over tensors in the memory of the device."""
    images, labels = (part.to(case.device) for part in loaded(case, root))
    network = case.network().to(case.device)
    optimizer = case.optimizer(network.parameters())
    network.train()
    while True:
        batches = index_batches(case, labels)
        for rows in batches:
            loss = case.loss(network(images[rows].float().div_(255)), target_of(case, labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clock.lap(len(batches))


def target_of(case: Case, labels: Tensor) -> Tensor:
    """Return what a loss takes: the labels, or of pairs whether both are of one class."""
    if case.order != "pairs":
        return labels
    first, second = labels.chunk(2)
    return first == second


def steps_of(case: Case, labels: Tensor) -> int:
    """Return how many steps an epoch has."""
    return case.num_steps or len(labels) // case.batch_size


def index_batches(case: Case, labels: Tensor) -> list[Tensor]:
    """Draw the batches of an epoch, each as positions of images (N,), on the device of the labels."""
    device = labels.device
    if case.order == "random":
        return list(torch.randperm(len(labels), device=device).split(case.batch_size))[: steps_of(case, labels)]
    by_class = [torch.nonzero(labels == label).squeeze(1) for label in labels.unique()]
    if case.order == "classes":
        size = (steps_of(case, labels), SAMPLES_PER_CLASS)
        chosen = [members[torch.randint(len(members), size, device=device)] for members in by_class]
        return list(torch.cat(chosen, 1))
    shape = (steps_of(case, labels), case.batch_size // 2)
    first, second = torch.randint(len(labels), (2, *shape), device=device).unbind()
    order, counts = labels.argsort(), labels.bincount()
    starts, own = counts.cumsum(0) - counts, labels[first]
    of_the_class = order[starts[own] + (torch.rand(shape, device=device) * counts[own]).long()]
    second[:, ::2] = of_the_class[:, ::2]  # every other pair is of one class
    return list(torch.cat([first, second], 1))


def loaded(case: Case, root: Path) -> tuple[Tensor, Tensor]:
    """Return the training images (N, C, H, W), uint8, and labels (N,)."""
    return digits(root) if case.data == "digits" else decoded(root)


def decoded(root: Path) -> tuple[Tensor, Tensor]:
    """Return all pictures at once."""
    from torchvision.transforms.v2.functional import pil_to_tensor

    pictures = folder_of(root)
    return torch.stack([pil_to_tensor(picture) for picture, _ in pictures]), torch.tensor([label for _, label in pictures])


def folder_of(root: Path, to_tensor: bool = False) -> Any:
    """Return torchvision's data set of the pictures, which decodes one whenever it is asked for."""
    from torchvision import datasets, transforms

    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), *([transforms.ToTensor()] if to_tensor else [])]
    return datasets.ImageFolder(str(root / "pictures" / "train"), transforms.Compose(steps))
