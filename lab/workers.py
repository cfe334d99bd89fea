"""What each of several processes that work side by side has of the machine."""

import os


def environment_of_worker(place: int, num_workers: int) -> dict[str, str]:
    """Return the environment variables of a process: its share of the processors, and one of the GPUs where there are several.

    What a user has set by ``OMP_NUM_THREADS`` stays.

    Args:
        place: which of the processes it is, from 0.
        num_workers: how many there are; one has the whole machine.
    """
    environment = dict(os.environ)
    if num_workers == 1:
        return environment
    import torch

    environment.setdefault("OMP_NUM_THREADS", str(max(1, _num_processors() // num_workers)))
    num_gpus = torch.cuda.device_count()
    if num_gpus > 1:
        visible = environment.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(num_gpus)))).split(",")
        environment["CUDA_VISIBLE_DEVICES"] = visible[place % len(visible)]
    return environment


def _num_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
