"""Networks of torchvision and timm with the weights that they were trained to."""

import contextlib
import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_weights_are_wanted = True


class Pretrained(nn.Module):
    """Any model of torchvision or timm up to its last layer, with weights; what comes out is the embedding.

    Images must come as pixels in [0, 1] (``data.normalization unit``), for they are normalised here as the weights need it;
    those of one channel are repeated to three.

    Args:
        name: of ``torchvision.models``, such as ``resnet18``, or ``timm/`` and a name of timm, where that is installed.
        weights: ``DEFAULT`` or another name of the model's weights, which are downloaded on first use; the path of a file of
            them (``.pth`` or ``.safetensors``; its last layer is not used); or None for random ones.
        frozen: keep the weights, and what batch norm measured, as they are; only what stands on top is trained.
        embedding_size: length of the output vector, made by a new linear layer where the features are not of that length;
            None for the features themselves.
        mean, std: of each channel, by which the images are normalised; None for what the weights say, else ImageNet's.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        name: str,
        weights: str | None = "DEFAULT",
        frozen: bool = True,
        embedding_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.weights = weights
        self.frozen = frozen
        file = Path(weights).expanduser() if weights is not None and weights.endswith((".pth", ".pt", ".safetensors")) else None
        self.backbone, own_mean, own_std = _make(name, weights if file is None and _weights_are_wanted else None)
        num_features = _take_off_last_layer(self.backbone, name)
        if file is not None and _weights_are_wanted:
            _load(self.backbone, file, name)
        if frozen:
            self.backbone.requires_grad_(False)
        self.mean, self.std = list(mean or own_mean), list(std or own_std)
        self.register_buffer("_mean", torch.tensor(self.mean).view(-1, 1, 1))
        self.register_buffer("_std", torch.tensor(self.std).view(-1, 1, 1))
        self.embedding_size = embedding_size or num_features
        self.projection = nn.Identity() if self.embedding_size == num_features else nn.Linear(num_features, self.embedding_size)
        self._has_looked = False

    def train(self, mode: bool = True) -> "Pretrained":
        """Switch dropout and batch norm to training or evaluation; a frozen backbone stays as in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W), pixels in [0, 1], as vectors (N, embedding_size).

        Raises:
            ValueError: if the first images have other values.
        """
        if not self._has_looked:
            self._has_looked = True
            if images.numel() and (images.min() < 0 or images.max() > 1):
                raise ValueError(
                    f"Pretrained takes pixels from 0 to 1 and normalises them itself; these are from {images.min():.3g} to "
                    f"{images.max():.3g}: set data.normalization unit"
                )
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        images = (images - self._mean) / self._std
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            features = self.backbone(images)
        embeddings: Tensor = self.projection(features.flatten(1))
        return embeddings


@contextlib.contextmanager
def random_weights() -> Iterator[None]:
    """Make networks within without their weights, as where those of a checkpoint come next."""
    global _weights_are_wanted
    before, _weights_are_wanted = _weights_are_wanted, False
    try:
        yield
    finally:
        _weights_are_wanted = before


def _make(name: str, weights: str | None) -> tuple[nn.Module, Sequence[float], Sequence[float]]:
    """Make a model by name; return it with the mean and the standard deviation its weights were trained with."""
    if name.startswith("timm/"):
        return _make_by_timm(name.removeprefix("timm/"), weights)
    try:
        chosen = models.get_model_weights(name)[weights] if weights is not None else None
    except ValueError as error:
        raise ValueError(f"Pretrained: {error}; torchvision.models.list_models() lists them") from error
    except KeyError as error:
        there = ", ".join(models.get_model_weights(name).__members__)
        raise ValueError(
            f"Pretrained: {name} has no weights {weights!r}; it has {there}, DEFAULT or the path of a file"
        ) from error
    try:
        model = models.get_model(name, weights=chosen)
    except (OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ValueError(
            f"Pretrained: the weights of {name} are not in {folder} and cannot be downloaded ({error}): put "
            f"{chosen.url if chosen else 'them'} there by hand, or give the path of a file by model.encoder.weights"
        ) from error
    transforms: Any = chosen.transforms() if chosen is not None else None
    return model, getattr(transforms, "mean", IMAGENET_MEAN), getattr(transforms, "std", IMAGENET_STD)


def _make_by_timm(name: str, weights: str | None) -> tuple[nn.Module, Sequence[float], Sequence[float]]:
    if importlib.util.find_spec("timm") is None:
        raise ValueError(f"Pretrained: timm/{name} needs timm: pip install timm")
    timm: Any = importlib.import_module("timm")
    if name not in timm.list_models() and name.split(".")[0] not in timm.list_models():
        raise ValueError(f"Pretrained: timm has no model {name!r}; timm.list_models() lists them")
    try:
        model = timm.create_model(name, pretrained=weights is not None)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"Pretrained: the weights of timm/{name} cannot be downloaded ({error})") from error
    return model, model.pretrained_cfg["mean"], model.pretrained_cfg["std"]


def _take_off_last_layer(model: nn.Module, name: str) -> int:
    """Replace the last linear layer by nothing; return the length of what went into it."""
    linear = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError(f"Pretrained: {name} does not end in a linear layer, so its features cannot be taken")
    path, last = linear[-1]
    parent, _, own_name = path.rpartition(".")
    setattr(model.get_submodule(parent), own_name, nn.Identity())
    return int(last.in_features)


def _load(model: nn.Module, file: Path, name: str) -> None:
    """Load the weights of a file, in which more than the model's may be.

    Raises:
        ValueError: if it is not a file of weights, or not of this model.
    """
    if not file.is_file():
        raise ValueError(f"model.encoder.weights: there is no file {file}")
    try:
        safe = file.suffix == ".safetensors"
        stored: dict[str, Any] = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{file} is not a whole file of weights") from error
    stored = stored.get("state_dict", stored)
    wanted = model.state_dict()
    other = [key for key in wanted if key not in stored or stored[key].shape != wanted[key].shape]
    if other:
        raise ValueError(f"{file} does not hold the weights of {name}: {other[0]} is missing or of another shape")
    model.load_state_dict({key: stored[key] for key in wanted})
