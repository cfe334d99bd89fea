"""What a machine without a GPU is spared."""

import os

import torch


def spare_driver_checks() -> None:
    """Let PyTorch ask its runtime, not NVIDIA's driver, whether there is a GPU, where there is none.

    Lightning sets this variable so that processes may be forked after the question. But optimizers ask it at every step, and a
    driver that is not there is looked for on the disk each time, which takes longer than the step of a small network.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
