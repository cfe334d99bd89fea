"""Ends a run after its first step, and writes how long that took from the start of its process."""

import json
import os
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from lab.benchmark.clock import Enough, peak_memory

BEGUN, FILE = "LAB_BENCHMARK_BEGUN", "LAB_BENCHMARK_FILE"  # environment variables: seconds since 1970, and where to write


class FirstStep(Callback):
    """Ends training after one step."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Write it down."""
        milliseconds = 1000.0 * (time.time() - float(os.environ[BEGUN]))
        Path(os.environ[FILE]).write_text(
            json.dumps({"milliseconds": milliseconds, "mebibytes": peak_memory()}), encoding="utf-8"
        )
        raise Enough
