"""What a device is called, and what it can do."""

import platform
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """Return what a device is called, and of a CPU how many threads compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    named = _of_cpu("model name") or platform.processor()
    num = torch.get_num_threads()
    return f"{named or device.type}, {num} thread{'' if num == 1 else 's'}"


def cpu_has_bf16() -> bool | None:
    """Return whether the CPU has instructions for bf16; None where the system does not tell."""
    flags = _of_cpu("flags") or _of_cpu("Features")  # of x86, of ARM
    return None if not flags else not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


def _of_cpu(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
