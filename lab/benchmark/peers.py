"""The same training by others: Lightning alone, Lightning with torchvision's data sets, pytorch-metric-learning's trainer.

Each trains until the clock, which is told of every epoch, has had enough.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lab.benchmark.bare import SAMPLES_PER_CLASS, folder_of, index_batches, loaded, steps_of, target_of
from lab.benchmark.cases import Case
from lab.benchmark.clock import Clock


class Pairs(torch.utils.data.Dataset[tuple[Tensor, Tensor, int]]):
    """Pairs of a data set, every other one of one class, as examples for siamese networks have them."""

    def __init__(self, images: Any) -> None:
        self.images = images
        self.by_class = [torch.nonzero(images.targets == label).squeeze(1) for label in range(10)]

    def __len__(self) -> int:
        return len(self.images) // 2

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        first, label = self.images[int(torch.randint(len(self.images), ()))]
        members = self.by_class[label if place % 2 else int(torch.randint(10, ()))]
        second, other = self.images[int(members[int(torch.randint(len(members), ()))])]
        return first, second, int(label == other)


def stock_data(case: Case, root: Path) -> Any:
    """Return the data set of a case as torchvision has it."""
    from torchvision import datasets, transforms

    if case.data == "pictures":
        return folder_of(root, to_tensor=True)
    images = datasets.MNIST(str(root), transform=transforms.ToTensor())
    return Pairs(images) if case.order == "pairs" else images


class StockModel(LightningModule):
    """What one writes first: forward, loss, ``self.log``."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.network = case.network()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Take a step of images and labels, or of pairs."""
        if self.case.order == "pairs":
            first, second, same = batch
            loss = self.case.loss(self.network(torch.cat([first, second])), same.bool())
        else:
            loss = self.case.loss(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimizer."""
        optimizer: torch.optim.Optimizer = self.case.optimizer(self.parameters())
        return optimizer


class LeanModel(StockModel):
    """The same over tensors in memory, of which a batch is the positions, and without ``self.log``."""

    def __init__(self, case: Case, images: Tensor, labels: Tensor) -> None:
        super().__init__(case)
        self.images, self.labels = images, labels

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Take a step of images at these positions."""
        outputs = self.network(self.images[batch].float().div_(255))
        return self.case.loss(outputs, target_of(self.case, self.labels[batch]))


class IndexBatches:
    """The batches of a bare loop, as Lightning takes them."""

    def __init__(self, case: Case, labels: Tensor) -> None:
        self.case, self.labels = case, labels

    def __iter__(self) -> Iterator[Tensor]:
        yield from index_batches(self.case, self.labels)


def lightning(case: Case, root: Path, clock: Clock) -> None:
    """Train by Lightning over tensors in memory, without a callback, a logger or anything else beside: what Lightning costs."""
    images, labels = (part.to(case.device) for part in loaded(case, root))
    nothing: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=-1, accelerator=case.accelerator, devices=1, callbacks=EpochClock(clock), **nothing)
    trainer.fit(LeanModel(case, images, labels), IndexBatches(case, labels))


class EpochClock(Callback):
    """Tells the clock of epochs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch is over, or what is timed of it."""
        self.clock.lap(trainer.fit_loop.epoch_loop.batch_idx + 1)


def stock(case: Case, root: Path, clock: Clock, num_workers: int = 0) -> None:
    """Train by Lightning, with torchvision's data set and PyTorch's DataLoader."""
    data = stock_data(case, root)
    sampler = ClassSampler(data.targets, steps_of(case, data.targets)) if case.order == "classes" else None
    size = case.batch_size // (2 if case.order == "pairs" else 1)
    workers: dict[str, Any] = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    loader = DataLoader(data, size, shuffle=sampler is None, sampler=sampler, drop_last=True, **workers)
    trainer = Trainer(
        max_epochs=-1, accelerator=case.accelerator, devices=1, default_root_dir=root / "stock", callbacks=EpochClock(clock)
    )
    trainer.fit(StockModel(case), loader)


def stock_2_workers(case: Case, root: Path, clock: Clock) -> None:
    """Do the same with two processes that load."""
    stock(case, root, clock, num_workers=2)


class ClassSampler(torch.utils.data.Sampler[int]):
    """Some images of each class, batch after batch."""

    def __init__(self, labels: Tensor, num_batches: int) -> None:
        self.by_class = [torch.nonzero(labels == label).squeeze(1) for label in range(10)]
        self.num_batches = num_batches

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.num_batches):
            for members in self.by_class:
                yield from members[torch.randint(len(members), (SAMPLES_PER_CLASS,))].tolist()

    def __len__(self) -> int:
        return self.num_batches * 10 * SAMPLES_PER_CLASS


def metric_learning(case: Case, root: Path, clock: Clock) -> None:
    """Train by pytorch-metric-learning's trainer, with its own loss, of all pairs of a batch, and its own sampler."""
    from pytorch_metric_learning import losses, miners, samplers, trainers
    from torchvision import datasets, transforms

    data = datasets.MNIST(str(root), transform=transforms.ToTensor())
    network = case.network().to(case.device)
    num_steps = steps_of(case, data.targets)
    sampler = samplers.MPerClassSampler(data.targets, SAMPLES_PER_CLASS, None, num_steps * case.batch_size)
    pairs = case.order == "pairs"
    trainer = trainers.MetricLossOnly(
        models={"trunk": network},
        optimizers={"trunk_optimizer": case.optimizer(network.parameters())},
        batch_size=case.batch_size,
        loss_funcs={"metric_loss": losses.ContrastiveLoss() if pairs else losses.TripletMarginLoss(smooth_loss=True)},
        mining_funcs={} if pairs else {"tuple_miner": miners.BatchHardMiner()},
        dataset=data,
        sampler=sampler,
        iterations_per_epoch=num_steps,
        data_device=case.device,
        dataloader_num_workers=0,
        end_of_epoch_hook=lambda _: clock.lap(num_steps),
    )
    trainer.train(num_epochs=10**9)
