"""The base of every data set: the options all have, the splits, the batches and what is done to them on the device."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.augmentation import Augmentation, check_augmentation
from lab.data.batches import Batches, ClassBatches, EvaluationBatches, RandomBatches, evaluation_order, generator_for
from lab.data.episodes import Episodes
from lab.data.folds import Folds
from lab.data.loader import Batch, BatchLoader, resident
from lab.data.normalization import Normalization, measure
from lab.data.options import check_options, checked_seed, num_batches_seen, refuse_overfitting
from lab.data.pair_batches import PairBatches
from lab.data.pictures import Fit
from lab.data.preparation import Preparation, scaled
from lab.data.resize import resized
from lab.data.splits import HoldOut, choose_classes, divide, join_to_train, keep_classes
from lab.data.training_images import training_images


class ImageDataModule(LightningDataModule):
    """Batches ``(images, labels)`` from a train, a validation and a test split held as uint8 arrays.

    A data set names its classes and the shape of its stored images, and reads its splits; the rest is done here.

    Args:
        root: folder that holds the data sets; what is downloaded or converted is kept there.
        batch_size: images in a batch on each device.
        samples_per_class: when given, every training batch holds this many images of each of its classes (P x K).
        classes: the first so many classes, or the names of those to use; None for all.
        validation_size: images held out of all that is not for testing, a number or a share of them, as many of each class in
            proportion, the same ones whatever the seed; None for what the data set has as its own.
        hold_out: which ones: ``stratified`` as said, or the ``first`` of the data set, of which those of ``classes`` are kept.
        num_images_per_class: training images to keep of each class, drawn by the seed; None for all.
        image_size: side in pixels to resize to, once; None for the stored size.
        augmentation: random changes of the training images.
        normalization: ``unit`` scales pixels to [0, 1]; ``standard`` gives each channel mean 0 and standard deviation 1
            over the training split; ``mean_image`` takes the training split's mean image away and leaves pixels in their
            own units, up to 255.
        pairs: every training batch is half of it pairs of one class, half pairs of two, each image at most once an epoch.
        episodes: every training batch is an N-way K-shot task.
        label_noise: share of the training labels to redraw at random; ``true_labels`` keeps the right ones.
        join: splits added to the training split, such as ``[extra]`` where the data set has one, or ``[val]``, after which
            nothing is left to validate on.
        exclude: CSV file of training images to leave out, as ``scripts/clean.py`` writes it.
        folds: one turn of a cross-validation, in place of the validation images.
        seed: with the epoch and the rank, decides batches, augmentation and the images kept; None for that of
            Lightning's ``seed_everything``, or 0.
    """

    all_class_names: list[str]
    stored_shape: tuple[int, int, int]
    default_validation_size: int | float = 0.1
    fit: Fit = "crop"
    inverted = False  # whether images are negatives of the picture files they come from
    trial_tasks: tuple[Tensor, Tensor] | None = None  # support (T, N, K) and queries (T, N) among the images of "trials"

    def __init__(
        self,
        root: str | os.PathLike[str] = "~/.cache/lab",
        batch_size: int = 128,
        samples_per_class: int | None = None,
        classes: int | list[str | int] | None = None,
        validation_size: int | float | None = None,
        hold_out: HoldOut = "stratified",
        num_images_per_class: int | None = None,
        image_size: int | None = None,
        augmentation: Augmentation | None = None,
        normalization: Normalization = "standard",
        pairs: bool = False,
        episodes: Episodes | None = None,
        label_noise: float = 0.0,
        join: list[str] | None = None,
        exclude: str | os.PathLike[str] | None = None,
        folds: Folds | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        sizes = (batch_size, samples_per_class, validation_size, num_images_per_class, image_size)
        check_options(*sizes, label_noise, kinds_of_batch=(samples_per_class is not None, pairs, episodes is not None))
        check_augmentation(augmentation, num_channels=self.stored_shape[0])
        self.root = Path(root).expanduser()
        self.batch_size, self.samples_per_class = batch_size, samples_per_class
        self.class_names = choose_classes(classes, self.all_class_names, type(self).__name__)
        self.validation_size, self.hold_out = validation_size, hold_out
        self.num_images_per_class, self.image_size = num_images_per_class, image_size
        self.augmentation, self.normalization = augmentation, normalization
        self.pairs, self.episodes = pairs, episodes
        self.label_noise = label_noise
        self.join = join or []
        self.exclude, self.folds = None if exclude is None else Path(exclude).expanduser(), folds
        # Where Lightning notes what a run was seeded by.
        self.seed = checked_seed(int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed)
        self.splits: dict[str, ImageArrays] = {}
        self.true_labels = torch.empty(0, dtype=torch.int64)  # of the training images
        self.mean = self.std = torch.empty(0)

    @property
    def num_classes(self) -> int:
        """Number of classes in use."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images in a batch."""
        return (self.stored_shape[0], self.image_size or self.stored_shape[1], self.image_size or self.stored_shape[2])

    def read(self) -> dict[str, ImageArrays]:
        """Return the splits as they are on disk: ``train``, ``test`` and, where the data set has its own, ``val``."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Make the splits ``train``, ``val`` and ``test``; called by the trainer on every process."""
        if self.splits:
            return
        size = self.default_validation_size if self.validation_size is None else self.validation_size
        splits = divide(self.read(), size, self.hold_out, self.validation_size is not None, self._keep_classes)
        join_to_train(splits, self.join, type(self).__name__)
        options = (self.num_images_per_class, self.label_noise, self.exclude, self.seed)
        splits["train"], self.true_labels = training_images(splits["train"], *options)
        if self.folds is not None:
            self.true_labels = self.true_labels[self.folds.part(splits)]
        self.splits = {name: resized(arrays, self.image_shape[1:]) for name, arrays in splits.items()}
        if not self.mean.numel():  # else it came with a checkpoint
            self._normalize_by(*measure(self.splits["train"], self.normalization))
        self._train_batches()  # what cannot fill a batch is said before anything else is done

    def _keep_classes(self, arrays: ImageArrays) -> ImageArrays:
        """Keep the classes in use, but in a split whose classes are others altogether all of them."""
        return keep_classes(arrays, self.class_names) if arrays.class_names == self.all_class_names else arrays

    @property
    def classes_are_shared(self) -> bool:
        """Whether validation and test images are of the classes that are trained on."""
        scored = [arrays for name, arrays in self.splits.items() if name != "trials"]
        return all(arrays.class_names == self.class_names for arrays in scored)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch to the device, without a look for tensors within tensors, as Lightning's own takes."""
        images, labels = (part.to(device, non_blocking=device.type == "cuda") for part in batch)
        return images, labels

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale, augment (in training) and normalise a batch of uint8 images, on the device it was moved to."""
        images, labels = scaled(batch[0]), batch[1]
        if self.augmentation is not None and self.trainer is not None and self.trainer.training:
            step = self.trainer.fit_loop.total_batch_idx + 1  # of the batch before, -1 at first; unlike the epoch, it resumes
            images = self.augmentation(images, generator_for("augmentation", self.seed, step, self.trainer.global_rank))
        images = self.preparation.normalize(images)
        return (images if self.trainer is None else images.to(self.trainer.lightning_module.dtype)), labels

    @cached_property
    def preparation(self) -> Preparation:
        """What is done to an image, augmentation aside."""
        return Preparation(self.class_names, self.image_shape, self.mean, self.std, self.fit, self.inverted)

    def _normalize_by(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std
        self.__dict__.pop("preparation", None)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to prepare a new image for its model, in plain Python."""
        return self.preparation.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Normalise by what the model of a checkpoint was trained with."""
        before = Preparation.from_state(state_dict)
        self._normalize_by(before.mean, before.std)

    def _train_batches(self) -> Batches:
        labels, ranks, size, per_class = self.splits["train"].labels, self._ranks(), self.batch_size, self.samples_per_class
        if self.pairs:
            return PairBatches(labels, size, self.seed, **ranks)
        if self.episodes is not None:
            self.episodes.check(labels, self.num_classes)
            size, per_class = self.episodes.batch_size, self.episodes.num_shots + self.episodes.num_queries
        if per_class is None:
            return RandomBatches(labels, size, self.seed, **ranks)
        return ClassBatches(labels, size, per_class, self.class_names, self.seed, **ranks)

    def _ranks(self) -> dict[str, int]:
        refuse_overfitting(self.trainer)
        return {} if (by := self.trainer) is None else {"rank": by.global_rank, "world_size": by.world_size}

    def _evaluation_loader(self, part: str) -> BatchLoader:
        arrays = self._true({"images": "test", "gallery": "train"}.get(part, part))
        return BatchLoader(arrays, sampler=EvaluationBatches(arrays.labels, self.batch_size, **self._ranks()))

    def _true(self, split: str) -> ImageArrays:
        arrays = self.splits[split]
        return arrays.select(torch.arange(len(arrays)), self.true_labels) if split == "train" else arrays

    def train_dataloader(self) -> BatchLoader:
        """Training batches, those that are left of the epoch where a run goes on in its middle."""
        left = self._train_batches().skip(lambda: num_batches_seen(self.trainer))
        return BatchLoader(resident(self.splits["train"], self.trainer), sampler=left)

    def evaluated(self, part: str) -> ImageArrays:
        """Return a split, rightly labelled, in the order in which it is evaluated."""
        return self._true(part).select(evaluation_order(len(self.splits[part])))

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """Every validation image once; no loader where they were joined to the training split."""
        return self._evaluation_loader("val") if "val" in self.splits else []

    @property
    def test_parts(self) -> list[str]:
        """What there is to test with: ``images``; ``gallery``, where the classes are shared; ``trials``, if there are any."""
        return ["images", *["gallery"] * self.classes_are_shared, *["trials"] * ("trials" in self.splits)]

    def test_dataloader(self) -> list[BatchLoader]:
        """Every test image; every training image, rightly labelled, as gallery; the images of trials, numbered."""
        return [self._evaluation_loader(part) for part in self.test_parts]
