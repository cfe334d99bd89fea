"""Time and memory of training, epoch by epoch.

PyTorch is imported where a GPU is timed, so that the process of another library can do without.
"""

import sys
import time
from pathlib import Path


class Enough(SystemExit):
    """Training has been timed for long enough; it ends as if it were told to."""

    def __init__(self) -> None:
        super().__init__(0)


class Clock:
    """Times whole epochs, but the first, in which much is done for once.

    Args:
        seconds: how long to time; at least one epoch.
        of_gpu: whether it is a GPU that is timed, whose work is waited for, and whose memory is meant.
    """

    def __init__(self, seconds: float, of_gpu: bool = False) -> None:
        self.seconds, self.of_gpu = seconds, of_gpu
        self.steps, self.timed = 0, 0.0
        self._last: float | None = None

    def lap(self, steps: int) -> None:
        """Note the end of an epoch of so many steps; raises ``Enough`` when it is time to end."""
        if self.of_gpu:
            import torch

            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._last is not None:
            self.steps += steps
            self.timed += now - self._last
            if self.timed >= self.seconds:
                raise Enough
        self._last = now

    def record(self) -> dict[str, float | None]:
        """Return milliseconds a step, and the peak of memory in MiB."""
        per_step = 1000.0 * self.timed / self.steps if self.steps else None
        return {"milliseconds": per_step, "mebibytes": peak_gpu_memory() if self.of_gpu else peak_memory()}


def peak_gpu_memory() -> float:
    """Return the most memory of the GPU that tensors of this process have held so far, in MiB."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def peak_memory() -> float | None:
    """Return the most memory that this process has held so far, in MiB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says there may be of the process that started this one
        held = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)
        return None if held is None else int(held.split()[1]) / 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
