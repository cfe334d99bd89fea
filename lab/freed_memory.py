"""Memory that was freed and is needed again a moment later."""

import ctypes
import os

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # as malloc.h numbers them
LARGEST = 2**30  # bytes of what is kept; older C libraries take no more than 2**25, which is what they do anyway
SET_BY_USER = ("MALLOC_MMAP_", "MALLOC_TRIM_", "MALLOC_TOP_PAD_")


def keep_freed_memory() -> bool:
    """Let the GNU C library keep memory that is freed, for what is allocated next.

    As it comes, it gives every tensor above 32 MiB back to the system, which then clears each page of the next one. A
    convolutional network allocates the same tensors in every step: with large batches or images that may take half of the time
    (``benchmark.py options_large``). The price: up to a seventh more memory. What a user has set by ``MALLOC_TRIM_THRESHOLD_``
    and the like stays.

    Returns:
        Whether it is kept; other systems, and C libraries that are older than 2022 or so, have none of this.
    """
    if any(name.startswith(SET_BY_USER) for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no mallopt, or no library of the process itself, as on Windows
        return False
    options = ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**26))
    return all(set_option(option, size) for option, size in options)
