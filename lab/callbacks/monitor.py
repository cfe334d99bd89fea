"""A check, before the first epoch, that the score by which the best epoch is chosen will exist."""

import difflib

from lightning.pytorch import Callback, LightningModule, Trainer


class MonitorCheck(Callback):
    """Stops a run whose monitored score is not among those logged, once the trainer has tried a validation batch.

    Args:
        monitor: name of the score, such as ``val/accuracy``.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with what was logged.

        Raises:
            ValueError: naming the nearest score that is logged, and all of them.
        """
        logged = sorted(trainer.callback_metrics)
        if self.monitor in logged or self.monitor.startswith("train/"):
            return
        near = difflib.get_close_matches(self.monitor, logged, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"callbacks.monitor {self.monitor!r} is not logged by {type(pl_module).__name__}; {hint}"
            f"It logs {', '.join(logged) or 'nothing while validating'}"
        )
