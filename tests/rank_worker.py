"""Trains and tests each family for a few steps; run by torchrun with several processes, and imported to do it with one."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from lab.callbacks.finite import FiniteLoss
from lab.data import Episodes, Synthetic
from lab.losses import PrototypicalLoss, TripletLoss
from lab.models import Classifier, Family, Siamese, SplitImage, Triplet
from lab.nets import MLP, ConvNet

GLOBAL_BATCH, NUM_STEPS, SHAPE = 24, 3, (1, 12, 12)
SGD = partial(torch.optim.SGD, lr=0.05)


class InTwoParts(ConvNet):
    """In one process, batch norm of the images of each of two ranks by themselves, which a batch holds in turn."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(images)
        parts = [super(InTwoParts, self).forward(images[rank::2]) for rank in range(2)]
        return torch.stack(parts, dim=1).flatten(0, 1)


def make(name: str, world_size: int = 1) -> Family:
    """Make an untrained model, the same one each time, that learns in one process what it does in two."""
    torch.manual_seed(0)
    if name == "classifier":
        return Classifier(MLP(SHAPE, (16,), 8), 5, optimizer=SGD)
    if name == "split_image":
        return SplitImage(MLP((1, 6, 12), (16,), 8), 5, optimizer=SGD)
    if name in ("triplet", "triplet_of_p_x_k"):
        return Triplet(MLP(SHAPE, (16,), 8), TripletLoss(margin="soft"), optimizer=SGD)
    if name in ("prototypes", "prototypes_of_episodes"):
        return Triplet(MLP(SHAPE, (16,), 8), PrototypicalLoss(), optimizer=SGD)
    if name == "siamese":
        return Siamese(MLP(SHAPE, (16,), 8), optimizer=SGD)
    if name == "logistic":
        return Siamese(MLP(SHAPE, (16,), 8), head="logistic", num_pairs=50, optimizer=SGD)
    if name == "two_encoders":
        return Siamese(MLP(SHAPE, (16,), 8), other_encoder=MLP(SHAPE, (16,), 8), optimizer=SGD)
    assert name == "batch_norm_two_views"
    network = ConvNet if world_size == 2 else InTwoParts
    return Siamese(network((1, 6, 12), 4, depth=1), views="upper_lower", optimizer=SGD)


EQUAL = (
    "classifier",
    "split_image",
    "triplet",
    "triplet_of_p_x_k",
    "prototypes",
    "siamese",
    "logistic",
    "two_encoders",
    "prototypes_of_episodes",
    "batch_norm_two_views",
)


def run(name: str, world_size: int) -> dict[str, Any]:
    """Test an untrained model, then train it; return the scores, the weights and the mean loss of the training batches."""
    images: dict[str, Any] = {"num_classes_made": 5, "num_train_images": 131, "num_test_images": 77, "stored_shape": SHAPE}
    kind: dict[str, Any] = {"samples_per_class": 6} if name == "triplet_of_p_x_k" else {}
    num_at_a_time = 1
    if name == "prototypes_of_episodes":  # each device has one of its own; alone they come one after the other
        kind = {"episodes": Episodes(num_ways=3, num_shots=1, num_queries=3), "validation_size": 30}  # which leaves 8 episodes
        num_at_a_time = 2 // world_size
    data = Synthetic(**images, batch_size=GLOBAL_BATCH // world_size, seed=3, **{"validation_size": 20, **kind})
    settings: dict[str, Any] = {"accelerator": "cpu", "devices": world_size, "strategy": "ddp" if world_size > 1 else "auto"}
    settings |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    num_batches = NUM_STEPS * num_at_a_time
    trainer = pl.Trainer(
        max_steps=NUM_STEPS, limit_train_batches=num_batches, accumulate_grad_batches=num_at_a_time, **settings
    )
    model = make(name, world_size)
    trainer.test(model, Synthetic(**images, batch_size=10), verbose=False)
    scores = {key: value.item() for key, value in trainer.callback_metrics.items()}
    trainer.fit(model, data)
    logged = {key: value.item() for key, value in trainer.callback_metrics.items()}
    return {"scores": scores, "weights": dict(model.state_dict()), "logged": logged}


class Poison(pl.Callback):
    """Makes the loss of the third batch on the second rank NaN, and keeps the images of that batch."""

    images = torch.empty(0)

    def on_train_batch_end(self, trainer: pl.Trainer, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank == 1 and batch_idx == 2:
            self.images = batch[0].clone()
            outputs["loss"] = torch.tensor(torch.nan)


def stop(folder: Path) -> dict[str, Any]:
    """Train on two ranks until the loss of one is NaN; return what each says, and if the images named are of that batch."""
    data = Synthetic(5, 131, 77, SHAPE, batch_size=12, validation_size=20)
    settings: dict[str, Any] = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "max_epochs": 2, "logger": False}
    settings |= {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    poison = Poison()
    trainer = pl.Trainer(**settings, callbacks=[poison, FiniteLoss(folder)])
    message = ""
    try:
        trainer.fit(make("classifier"), data)
    except ValueError as error:
        message = str(error)
    torch.distributed.barrier()  # the first writes what the second has found
    record = json.loads((folder / "not_finite.json").read_text())
    named = data.on_after_batch_transfer(data.splits["train"][record["indices"]], 0)[0]
    found: list[Any] = [None, None]
    torch.distributed.all_gather_object(found, (message, torch.equal(named, poison.images)))
    return {"messages": [message for message, _ in found], "are_of_that_batch": [same for _, same in found], "record": record}


if __name__ == "__main__":
    found = {name: run(name, 2) for name in EQUAL}
    stopped = stop(Path(sys.argv[1]).parent)
    weights = [torch.cat([v.flatten().float() for v in found[name]["weights"].values()]) for name in EQUAL]
    same = torch.cat(weights).nan_to_num()
    sums = [torch.zeros_like(same) for _ in range(2)]
    torch.distributed.all_gather(sums, same)
    if torch.distributed.get_rank() == 0:
        torch.save({**found, "ranks_agree": bool(torch.equal(*sums)), "stopped": stopped}, Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
