from pathlib import Path

import pytest
import torch
from conftest import PROJECT, Script

from lab.device import cpu_has_bf16, device_name

OLD = "processor\t: 0\nmodel name\t: An Old CPU\nflags\t\t: fpu sse avx2 avx512f\n"
NEW = "processor\t: 0\nmodel name\t: A New CPU\nflags\t\t: fpu avx512_bf16 avx512f\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(("told", "has_it"), [(OLD, False), (NEW, True), (ARM, True), ("processor : 0\n", None), (None, None)])
def test_whether_a_cpu_has_bf16_is_read_from_what_the_system_tells(
    told: str | None, has_it: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path, **_: str) -> str:
        if told is None:
            raise FileNotFoundError(path)
        return told

    monkeypatch.setattr(Path, "read_text", read)
    assert cpu_has_bf16() is has_it
    if told == OLD:
        assert device_name(torch.device("cpu")).startswith("An Old CPU, ")


@pytest.mark.parametrize(
    ("has_it", "precision", "warns"), [(False, "bf16-mixed", True), (True, "bf16-mixed", False), (False, "32", False)]
)
def test_a_run_in_bf16_warns_where_the_processor_has_no_instructions_for_it(
    has_it: bool, precision: str, warns: bool, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.preflight.cpu_has_bf16", lambda: has_it)
    options = ("--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "true", "--trainer.precision", precision)
    done = script("fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *options)
    assert done.returncode == 0, done.stderr
    assert ("WARNING: trainer.precision bf16-mixed: this processor has no instructions" in done.stdout) == warns
