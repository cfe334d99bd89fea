import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lab import freed_memory
from lab.freed_memory import keep_freed_memory

# Makes and frees a large array again and again, as a step of training does; each page that the system clears is a fault.
COUNT_FAULTS = """
import resource, sys
import numpy as np
from lab.freed_memory import keep_freed_memory
kept = sys.argv[1] == "kept" and keep_freed_memory()
for turn in range(6):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(40_000_000, 7, np.uint8)
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5)
"""


def _faults(how: str, **variables: str) -> tuple[str, float]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(freed_memory.SET_BY_USER)}
    # Without huge pages, of which a machine may use few or many.
    environment = {**inherited, "NUMPY_MADVISE_HUGEPAGE": "0", **variables}
    command = [sys.executable, "-c", COUNT_FAULTS, how]
    words = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()
    return words[0], float(words[1])


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library is that of Linux")
def test_what_was_freed_is_used_again_without_being_cleared_by_the_system() -> None:
    kept, num_faults = _faults("kept")
    if kept == "False":
        pytest.skip("another C library")
    assert num_faults < 10
    assert _faults("as it comes")[1] > 5 * max(10, num_faults)


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "1000"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1000")]
)
def test_what_a_user_has_set_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("ctypes.CDLL", _refuse)
    assert not keep_freed_memory()


def test_a_library_that_keeps_no_large_tensors_is_said_to_keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(freed_memory.SET_BY_USER)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.elision.enable=1")  # of something else
    asked = []

    def set_option(option: int, size: int) -> int:
        asked.append(option)
        return int(size <= 2**25)

    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace(mallopt=set_option))
    assert not keep_freed_memory()
    assert asked == [freed_memory.MMAP_THRESHOLD]


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_where_the_system_has_none_of_it_nothing_happens(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(freed_memory.SET_BY_USER)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("ctypes.CDLL", lambda name: _raise(error()))
    assert not keep_freed_memory()


def _refuse(name: object) -> None:
    raise AssertionError("nothing is to be set")


def _raise(error: Exception) -> None:
    raise error
