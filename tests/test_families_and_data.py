"""Every family on every data set, whatever their images and classes, takes training steps and is scored."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image

from lab.data import CIFAR10, MNIST, Arrays, Episodes, FashionMNIST, ImageDataModule, ImageFolder, Omniglot, Synthetic
from lab.data.alphabets import NUM_CHARACTERS, class_names_of
from lab.data.arrays import ImageArrays
from lab.losses import PrototypicalLoss
from lab.models import Classifier, Family, Siamese, SplitImage, Triplet
from lab.nets import MLP, ConvNet, DeepConvNet, ResidualNet, TwoLayerNet
from lab.preflight import check_parts

CONFIG = SimpleNamespace(
    trainer=SimpleNamespace(limit_val_batches=None, max_epochs=1),
    callbacks=SimpleNamespace(monitor=None, checkpoints=True, early_stopping=True, freeze=None),
    ckpt_path=None,
    encoder_from=None,
    weights_from=None,
)
OPTIONS: dict[str, Any] = {"batch_size": 8, "samples_per_class": 2}


def _random_images(num: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (num, *shape), generator=torch.Generator().manual_seed(num)).to(torch.uint8)


def _store(path: Path, class_names: list[str], images_a_class: int, *shape: int) -> None:
    labels = torch.arange(len(class_names)).repeat(images_a_class)
    ImageArrays(_random_images(len(labels), *shape), labels, class_names).save(path)


def _cifar10(root: Path) -> ImageDataModule:
    for split in ("train", "test"):
        _store(root / "cifar10" / f"{split}.safetensors", CIFAR10.all_class_names, 6, 3, 32, 32)
    return CIFAR10(root=root, validation_size=20, **OPTIONS)


def _fashion(root: Path) -> ImageDataModule:
    for split in ("train", "test"):
        _store(root / "fashionmnist" / f"{split}.safetensors", FashionMNIST.all_class_names, 6, 1, 28, 28)
    return FashionMNIST(root=root, validation_size=20, **OPTIONS)


def _omniglot(root: Path) -> ImageDataModule:
    for split, alphabets in NUM_CHARACTERS.items():
        _store(root / "omniglot" / f"{split}.safetensors", class_names_of(alphabets), 2, 1, 105, 105)
    return Omniglot(root=root, **OPTIONS)


def _folder(root: Path) -> ImageDataModule:
    for name in ("a", "b", "c", "d"):
        (root / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "pictures" / name / f"{i}.png")
    return ImageFolder(root / "pictures", image_size=32, root=root, validation_size=0.25, **OPTIONS)


def _arrays(root: Path) -> ImageDataModule:
    images = _random_images(60, 16, 24, 3).numpy()
    np.savez(root / "mine.npz", images=images, labels=np.arange(60) % 4)
    return Arrays(root / "mine.npz", validation_size=12, **OPTIONS)


DATA: dict[str, Callable[[Path], ImageDataModule]] = {
    "mnist": lambda root: MNIST(bundled=True, **OPTIONS),
    "fashion_mnist": _fashion,
    "cifar10": _cifar10,
    "omniglot": _omniglot,
    "folder": _folder,
    "arrays": _arrays,
    "synthetic": lambda root: Synthetic(num_train_images=200, num_test_images=40, **OPTIONS),
}
Shape = tuple[int, ...]
FAMILIES: dict[str, Callable[[Shape, int], Family]] = {
    "classifier": lambda shape, num_classes: Classifier(ConvNet(shape, width=2, embedding_size=4), num_classes),
    "siamese": lambda shape, _: Siamese(MLP(shape, (6,), embedding_size=4)),
    "koch": lambda shape, _: Siamese(ConvNet(shape, width=2, embedding_size=4), head="logistic"),
    "pseudo_siamese": lambda shape, _: Siamese(
        MLP((shape[0], shape[1] // 2, shape[2]), (6,), embedding_size=4),
        other_encoder=TwoLayerNet((shape[0], shape[1] // 2, shape[2]), 5, 4),
        views="upper_lower",
    ),
    "triplet": lambda shape, _: Triplet(ResidualNet(shape, width=4, num_blocks=(1, 1))),
    "prototypical": lambda shape, _: Triplet(ConvNet(shape, width=2, embedding_size=4), PrototypicalLoss()),
    "split_image": lambda shape, num_classes: SplitImage(
        DeepConvNet((shape[0], shape[1] // 2, shape[2] // 2), (2, 2), 1, 4, 0.1, 4), num_classes, rows=2, columns=2
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("data", DATA)
def test_every_family_trains_on_every_data_set_and_is_scored(family: str, data: str, tmp_path: Path) -> None:
    module = DATA[data](tmp_path)
    model = FAMILIES[family](module.image_shape, module.num_classes)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    limits: dict[str, Any] = {
        "limit_train_batches": 2,
        "limit_val_batches": 2,
        "limit_test_batches": 1.0 if data == "omniglot" else 2,  # of which two need not hold any pair of a class
        "num_sanity_val_steps": 0,
    }
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", **limits, **off)
    if data == "omniglot" and model.needs_known_classes:
        with pytest.raises(ValueError, match="can only be scored on the classes it was trained on, and Omniglot validates"):
            check_parts(model, module, CONFIG, resuming=True)
        return
    check_parts(model, module, CONFIG, resuming=True)
    trainer.fit(model, module)
    trainer.test(model, module, verbose=False)
    assert trainer.callback_metrics["test/loss"].isfinite()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_episodes_and_prototypes_learn_synthetic_patterns() -> None:
    pl.seed_everything(0)
    data = Synthetic(num_train_images=600, num_test_images=100, episodes=Episodes(num_ways=5, num_shots=1, num_queries=4))
    model = Triplet(ConvNet(width=8, embedding_size=16), PrototypicalLoss())
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(max_epochs=5, accelerator="cpu", **off)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert trainer.callback_metrics["test/nearest_neighbor_accuracy"] > 0.9
