"""What a device is called."""

import platform
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """Return what a device is called, and of a CPU how many threads compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    num = torch.get_num_threads()
    return f"{named or device.type}, {num} thread{'' if num == 1 else 's'}"
