import gc
import os
import threading
from pathlib import Path

import pytest
from conftest import PROJECT, Script

NAMES = ("triplet", "classifier", "siamese", "split_image")


def _left_behind() -> dict[str, int]:
    gc.collect()
    found = gc.get_objects()
    return {
        "objects": len(found),
        "classes": sum(isinstance(thing, type) for thing in found),
        "handles": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "processes": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc to count in")
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what is looked at among all objects
def test_fits_in_a_row_in_one_process_leave_nothing_behind(script: Script) -> None:
    small = ("--trainer.accelerator", "cpu", "--trainer.default_root_dir", "runs", "--trainer.max_epochs", "1")
    fewer = ("--data.num_images_per_class", "40", "--model.encoder.width", "4")

    def fit_all() -> dict[str, int]:
        for name in NAMES:
            assert script("fit.py", "--config", str(PROJECT / "configs" / f"{name}.yaml"), *small, *fewer).returncode == 0
        return _left_behind()

    for _ in range(4):  # what is kept for good, such as what libraries have looked up
        before = fit_all()
    for _ in range(3):
        after = fit_all()
    assert after["objects"] - before["objects"] < 200  # a single layer that stays has more
    assert {key: after[key] for key in before if key != "objects"} == {key: before[key] for key in before if key != "objects"}
