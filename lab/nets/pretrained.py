"""Networks of torchvision and timm with the weights that they were trained to."""

import contextlib
import importlib.util
import logging
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from lab.nets.memory import channels_last_where_safe

log = logging.getLogger(__name__)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Made = tuple[nn.Module, int, Sequence[float], Sequence[float]]  # a model, the length of its features, mean and std of images
_weights_are_wanted = True


class Pretrained(nn.Module):
    """Any classifier of torchvision or timm up to its last layer, with weights; what comes out is the embedding.

    Images must come as pixels in [0, 1] (``data.normalization unit``), for they are normalised here as the weights need it;
    those of one channel are repeated to three.

    Args:
        name: of ``torchvision.models``, such as ``resnet18``, or ``timm/`` and a name of timm, where that is installed.
        weights: ``DEFAULT`` or another name of the model's weights, which are downloaded on first use; the path of a file of
            them (``.pth``, ``.pt`` or ``.safetensors``; its last layer is not used); or None for random ones.
        frozen: keep the weights, and what batch norm measured, as they are; only what stands on top is trained. None for
            doing so where there are weights, and not where they are random.
        embedding_size: length of the output vector, made by a new linear layer where the features are not of that length;
            None for the features themselves.
        standardize: bring each feature to mean 0 and standard deviation 1, of the batch while training and of all batches seen
            afterwards, as batch norm without weights does.
        mean, std: of each channel, by which the images are normalised; None for what the weights say, else ImageNet's.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        name: str,
        weights: str | None = "DEFAULT",
        frozen: bool | None = None,
        embedding_size: int | None = None,
        standardize: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if weights in ("null", "None"):  # as the command line gives it
            weights = None
        if embedding_size is not None and embedding_size < 1:
            raise ValueError(f"Pretrained: embedding_size {embedding_size} must be positive")
        self.name = name
        self.weights = weights
        self.frozen = weights is not None if frozen is None else frozen
        file = Path(weights).expanduser() if weights is not None and weights.endswith((".pth", ".pt", ".safetensors")) else None
        make = _make_by_timm if name.startswith("timm/") else _make_by_torchvision
        self.backbone, num_features, own_mean, own_std = make(name, weights if file is None and _weights_are_wanted else None)
        if file is not None and _weights_are_wanted:
            _load(self.backbone, file, name)
        if self.frozen:
            self.backbone.requires_grad_(False).eval()  # now too: Lightning leaves each module in the mode that it finds
        self.mean, self.std = list(mean or own_mean), list(std or own_std)
        self.register_buffer("_mean", torch.tensor(self.mean).view(-1, 1, 1))
        self.register_buffer("_std", torch.tensor(self.std).view(-1, 1, 1))
        self.standardize = standardize
        self.standardization = nn.BatchNorm1d(num_features, momentum=None, affine=False) if standardize else nn.Identity()
        self.embedding_size = embedding_size or num_features
        self.projection = nn.Identity() if self.embedding_size == num_features else nn.Linear(num_features, self.embedding_size)
        self._modes_looked_at: set[bool] = set()
        self.memory_format = channels_last_where_safe(self.backbone)

    def train(self, mode: bool = True) -> "Pretrained":
        """Switch dropout and batch norm to training or evaluation; a frozen backbone stays as in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, C, H, W), pixels in [0, 1], as vectors (N, embedding_size).

        Raises:
            ValueError: if the first images, in training or in evaluation, have other values.
        """
        if self.training not in self._modes_looked_at:
            if images.numel() and (images.min() < -0.01 or images.max() > 1.01):  # augmentation may round
                raise ValueError(
                    "model.encoder: Pretrained takes pixels from 0 to 1 and normalises them itself; these are from "
                    f"{images.min():.3g} to {images.max():.3g}: set data.normalization unit"
                )
            self._modes_looked_at.add(self.training)
        images = (images.expand(-1, 3, -1, -1) - self._mean) / self._std  # there may be one channel
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            features = self.backbone(images.contiguous(memory_format=self.memory_format))
        embeddings: Tensor = self.projection(self.standardization(features.flatten(1)))
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


def _make_by_torchvision(name: str, weights: str | None) -> Made:
    if name.lower() not in models.list_models(module=models):
        raise ValueError(
            f"Pretrained: torchvision has no model {name!r} for classes of images; "
            "torchvision.models.list_models(module=torchvision.models) lists them"
        )
    known: Any = models.get_model_weights(name)
    if weights is not None and weights not in known.__members__:
        there = ", ".join(known.__members__)
        raise ValueError(
            f"Pretrained: {name} has no weights {weights!r}; it has {there}, or the path of a file (.pth, .safetensors)"
        )
    chosen = known[weights] if weights is not None else None
    try:
        model = models.get_model(name, weights=chosen)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ValueError(
            f"Pretrained: the weights of {name} are not in {folder}, or not whole, and cannot be downloaded "
            f"({_first_line(error)}): put {chosen.url if chosen else 'them'} there by hand, or give the path of a file by "
            "model.encoder.weights"
        ) from error
    if hasattr(model, "transform_input"):  # GoogLeNet and Inception: always as with weights, and without the heads beside
        model.transform_input, model.aux_logits = True, False
        for head in {"aux1", "aux2", "AuxLogits"} & {path for path, _ in model.named_children()}:
            setattr(model, head, None)
    transforms: Any = chosen.transforms() if chosen is not None else None
    num_features = _take_off_last_layer(model, name)
    return model, num_features, getattr(transforms, "mean", IMAGENET_MEAN), getattr(transforms, "std", IMAGENET_STD)


def _make_by_timm(name: str, weights: str | None) -> Made:
    if importlib.util.find_spec("timm") is None:
        raise ValueError(f"Pretrained: {name} needs timm: pip install timm")
    timm: Any = importlib.import_module("timm")
    own_name = name.removeprefix("timm/")
    if own_name.split(".")[0] not in timm.list_models():
        raise ValueError(f"Pretrained: timm has no model {own_name!r}; timm.list_models() lists them")
    if weights not in (None, "DEFAULT"):
        raise ValueError(
            f"Pretrained: {name} has no weights {weights!r}; set DEFAULT and let the name end in .{weights}, or give the path "
            "of a file (.pth, .safetensors)"
        )
    try:
        model = timm.create_model(own_name, pretrained=weights is not None)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"Pretrained: the weights of {name} cannot be had ({_first_line(error)}); the path of a file of them can be given "
            "by model.encoder.weights"
        ) from error
    model.reset_classifier(0)  # not every model of timm ends in one linear layer
    return model, int(model.head_hidden_size), model.pretrained_cfg["mean"], model.pretrained_cfg["std"]


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
    """Load the weights of a file, in which more than the model's may be, and which may be named otherwise in the same order.

    Raises:
        ValueError: if it is not a file of weights, or not of this model.
    """
    if not file.is_file():
        raise ValueError(f"model.encoder.weights: there is no file {file}")
    try:
        safe = file.suffix == ".safetensors"
        stored: Any = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{file} is not a whole file of weights alone, as model.state_dict() saved by torch.save") from error
    stored = stored.get("state_dict", stored) if isinstance(stored, dict) else {}
    stored = {str(key).removeprefix("module."): tensor for key, tensor in stored.items()}  # which DataParallel puts before
    # How many batches were measured has no use here, and many files, torchvision's of resnet18 among them, do not say.
    wanted = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    if not wanted.keys() & stored.keys():
        stored = _named_by_order(stored, list(wanted), file, name)
    other = [key for key in wanted if getattr(stored.get(key), "shape", None) != wanted[key].shape]
    if other:
        raise ValueError(f"{file} does not hold the weights of {name}: {other[0]} is missing or of another shape")
    model.load_state_dict({key: stored[key] for key in wanted}, strict=False)


def _named_by_order(stored: dict[str, Any], wanted: list[str], file: Path, name: str) -> dict[str, Any]:
    """Name the tensors of a file as those of a model, in order, but for counts of batches; a wrong shape is found later."""
    tensors = [tensor for key, tensor in stored.items() if not key.endswith("num_batches_tracked")]
    if not len(wanted) <= len(tensors) <= len(wanted) + 2:  # the weight and the bias of the last layer
        return stored
    log.warning("%s names its tensors otherwise than %s: they are taken in their order", file, name)
    return dict(zip(wanted, tensors, strict=False))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
