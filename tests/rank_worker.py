"""Trains and tests each family for a few steps; run by torchrun with several processes, and imported to do it with one."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from lab.data import Episodes, Synthetic
from lab.losses import PrototypicalLoss, TripletLoss
from lab.models import Classifier, Family, Siamese, SplitImage, Triplet
from lab.nets import MLP, ConvNet

GLOBAL_BATCH, NUM_STEPS, SHAPE = 24, 3, (1, 12, 12)
SGD = partial(torch.optim.SGD, lr=0.05)


def make(name: str) -> Family:
    """Make an untrained model, the same one each time."""
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
    return Siamese(ConvNet((1, 6, 12), 4, depth=1), views="upper_lower", optimizer=SGD)


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
)
ALL = (*EQUAL, "batch_norm_two_views")


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
    model = make(name)
    trainer.test(model, Synthetic(**images, batch_size=10), verbose=False)
    scores = {key: value.item() for key, value in trainer.callback_metrics.items()}
    trainer.fit(model, data)
    logged = {key: value.item() for key, value in trainer.callback_metrics.items()}
    return {"scores": scores, "weights": dict(model.state_dict()), "logged": logged}


if __name__ == "__main__":
    found = {name: run(name, 2) for name in ALL}
    weights = [torch.cat([v.flatten().float() for v in found[name]["weights"].values()]) for name in ALL]
    same = torch.cat(weights).nan_to_num()
    sums = [torch.zeros_like(same) for _ in range(2)]
    torch.distributed.all_gather(sums, same)
    if torch.distributed.get_rank() == 0:
        torch.save({**found, "ranks_agree": bool(torch.equal(*sums))}, Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
