"""What costs time at every step for nothing, and is spared."""

import inspect
import os
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import nn


def spare_questions(family: type[LightningModule]) -> None:
    """Answer once what is asked at every step: whether there is a GPU, and which arguments a training step takes.

    Lightning lets PyTorch ask NVIDIA's driver for a GPU, not its own runtime, so that processes may be forked after that. But
    optimizers ask too, and a driver that is not there is looked for on the disk each time, which takes longer than the step of
    a small network.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    setattr(family.training_step, "__signature__", inspect.signature(family.training_step))  # noqa: B010 - for mypy


def forget_gradients(model: LightningModule, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
    """Do as the optimizer itself would, which also notes it for a profiler; one that does otherwise is asked to."""
    if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def set_attribute(module: nn.Module, name: str, value: Any) -> None:
    """Set an attribute of a module, one that is plain already to a text or None without asking if that is a parameter.

    Lightning notes the name of each hook that it calls in the module, some 40 times a step.
    """
    if (value is None or isinstance(value, str)) and name in module.__dict__:
        module.__dict__[name] = value
    else:
        nn.Module.__setattr__(module, name, value)
