"""How the scores of a stage get their names."""

from lightning.pytorch import LightningModule
from torchmetrics import Metric

from lab.metrics import Collected


def log_scores(model: LightningModule, stage: str, *metrics: Metric) -> None:
    """Log what metrics have found, each value as ``stage/name``, and let them begin again."""
    for metric in metrics:
        if isinstance(metric, Collected):
            metric.prepare(stage, getattr(model._trainer, "datamodule", None))
        if metric.update_called:
            for name, value in metric.compute().items():
                shown = f"{stage}/{name}" in ("train/loss", getattr(model, "monitor", None))
                model.log(f"{stage}/{name}", value, prog_bar=shown)
            metric.reset()
