"""What the processes of a run on several devices know of each other's batches."""

from lightning.pytorch import LightningModule
from torch import Tensor


def of_all_ranks(model: LightningModule, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embeddings (R * N, D) and labels (R * N,) of the batches (N, D) and (N,) of all R processes that train.

    A loss of pairs or triplets so sees those of two devices too, as it would on one device with the whole batch. Gradients
    flow back to where an embedding comes from, R times as large, one time for the loss of each process, of which the mean is
    taken then. While evaluating, and on one device, batches are returned as they are; so are episodes, each of which is a task
    of its own, with its own support.
    """
    trainer = model._trainer
    if not model.training or trainer is None or trainer.world_size == 1:
        return embeddings, labels
    if getattr(getattr(trainer, "datamodule", None), "episodes", None) is not None:
        return embeddings, labels
    gathered = model.all_gather(embeddings, sync_grads=True)
    numbers = model.all_gather(labels)
    assert isinstance(gathered, Tensor)
    assert isinstance(numbers, Tensor)
    return gathered.transpose(0, 1).flatten(0, 1), numbers.transpose(0, 1).flatten(0, 1)  # random batches in their own order
