"""What costs time at every step for nothing, and is spared."""

import os
from typing import Any

import torch
from torch import nn


def spare_driver_checks() -> None:
    """Let PyTorch ask its runtime, not NVIDIA's driver, whether there is a GPU, where there is none.

    Lightning sets this variable so that processes may be forked after the question. But optimizers ask it at every step, and a
    driver that is not there is looked for on the disk each time, which takes longer than the step of a small network.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def set_attribute(module: nn.Module, name: str, value: Any) -> None:
    """Set an attribute of a module, one that is plain already to a text or None without asking if that is a parameter.

    Lightning notes the name of each hook that it calls in the module, some 40 times a step.
    """
    if (value is None or isinstance(value, str)) and name in module.__dict__:
        module.__dict__[name] = value
    else:
        nn.Module.__setattr__(module, name, value)
