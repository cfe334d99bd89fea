"""A step of training with what can be chosen otherwise: threads, memory, compiling, how the optimizer steps."""

import os
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from lab.benchmark.bare import SAMPLES_PER_CLASS, target_of
from lab.benchmark.cases import CASES, NUM_CLASSES, SIDE, Case, batch_hard
from lab.nets import ConvNet

# Other ways to take a step.
ON_CPU = ("memory_given_back", "one_thread", "all_threads", "contiguous", "compiled", "bf16", "looped")
ON_GPU = ("contiguous", "compiled", "recorded", "bf16")

BACKENDS = {"compiled": "inductor", "recorded": "cudagraphs"}
STEP_AT_ONCE = (torch.optim.Adam,)  # which this codebase lets take a step in one call
LARGE = Case(  # whose features are larger than what the C library keeps as it comes, 32 MiB
    "large", "four blocks of 64 convolutions, 240 images a step", "experiments/p3_small.yaml", "digits", "classes", 240,
    partial(ConvNet, (1, 28, 28), width=64, later_width=64, depth=4), batch_hard, partial(torch.optim.Adam, lr=1e-3),
)  # fmt: skip
WITH_OPTIONS = {f"options_{case.name}": case for case in (CASES["p2"], CASES["t1"], CASES["residual"], LARGE)}


class Step:
    """A step of a bare loop over one batch.

    Args:
        case: what is trained.
        way: one of ``ON_CPU`` or ``ON_GPU``, or none for as it is here; ``memory_given_back`` is that of a process that keeps
            none.
    """

    def __init__(self, case: Case, way: str = "") -> None:
        self.case, self.way = case, way

    @cached_property
    def parts(self) -> tuple[nn.Module, torch.optim.Optimizer, Tensor, Tensor]:
        """Network, optimizer, images and labels, which are made when they are needed."""
        if self.way in ("one_thread", "all_threads"):
            torch.set_num_threads(1 if self.way == "one_thread" else os.cpu_count() or 1)
        device = self.case.device
        network = self.case.network().to(device).train()
        if self.way == "contiguous":
            _lay_contiguous(network)
        if self.way in BACKENDS:
            network.compile(backend=BACKENDS[self.way])
        is_fused = device.type == "cpu" and self.case.optimizer.func in STEP_AT_ONCE and self.way != "looped"
        optimizer = self.case.optimizer(network.parameters(), **({"fused": True} if is_fused else {}))
        shape = (3, SIDE, SIDE) if self.case.data == "pictures" else (1, 28, 28)
        labels = torch.arange(self.case.batch_size) // SAMPLES_PER_CLASS % NUM_CLASSES[self.case.data]
        if self.case.order != "classes":
            labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
        return network, optimizer, torch.rand(self.case.batch_size, *shape).to(device), labels.to(device)

    def __call__(self) -> None:
        """Take a step."""
        network, optimizer, images, labels = self.parts
        with torch.autocast(self.case.device.type, torch.bfloat16, enabled=self.way == "bf16"):
            outputs = network(images)
        loss = self.case.loss(outputs.float(), target_of(self.case, labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _lay_contiguous(network: nn.Module) -> None:
    for module in network.modules():
        if hasattr(module, "memory_format"):
            setattr(module, "memory_format", torch.contiguous_format)  # noqa: B010 - which modules take for a parameter
    network.to(memory_format=torch.contiguous_format)


def ways_of(case: Case) -> list[str]:
    """Return the other ways that there are for a case."""
    found = list(ON_CPU if case.accelerator == "cpu" else ON_GPU)
    if case.data == "digits" and case.order == "pairs":  # without convolutions
        found.remove("contiguous")
    if case.optimizer.func not in STEP_AT_ONCE and "looped" in found:
        found.remove("looped")
    return found
