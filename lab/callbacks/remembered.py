"""The frozen part of an encoder, which sees each image once."""

import hashlib
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.callbacks.forwards import Forwards, encoders_of

AT_ONCE = 8  # images, always, so that what an image gives does not depend on which others are asked for
MAX_BYTES = 2**28  # of features that are kept; then the oldest are forgotten


class RememberFeatures(Callback):
    """Keeps what the frozen part of an encoder makes of an image, so that it is computed once and not in every epoch.

    It is done on a CPU, where a convolutional network takes many times as long as to look up the digest of an image's pixels,
    and where the encoder, or the backbone of a ``Pretrained`` one, is all frozen when training begins; once some of it trains,
    or has other weights, it is computed again. What is augmented is computed anew in every epoch. The numbers are those of the
    network up to rounding, and the same ones in a run that is interrupted and goes on.
    """

    def __init__(self) -> None:
        self._remembered = Forwards({})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to remember, after parts have been frozen."""
        if pl_module.device.type != "cpu":
            return
        in_training = getattr(trainer.datamodule, "augmentation", None) is None  # type: ignore[attr-defined]
        parts = dict.fromkeys(part for part in map(frozen_part, encoders_of(pl_module)) if part is not None)
        self._remembered = Forwards({part: Remembered(part, in_training) for part in parts})
        self._remembered.put_in()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the networks as they were."""
        self._remembered.take_out()
        self._remembered = Forwards({})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self.on_train_end(trainer, pl_module)


def frozen_part(encoder: nn.Module) -> nn.Module | None:
    """Return the encoder, or its backbone, if all of it is frozen and worth remembering: with convolutions."""
    for part in (encoder, getattr(encoder, "backbone", None)):
        if isinstance(part, nn.Module) and any(isinstance(layer, nn.Conv2d) for layer in part.modules()) and _is_frozen(part):
            return part
    return None


def _is_frozen(part: nn.Module) -> bool:
    """Return whether what a part makes of an image is always the same, whatever the others of a batch are."""
    return not any(parameter.requires_grad for parameter in part.parameters()) and not any(
        layer.training or (isinstance(layer, _BatchNorm) and layer.running_mean is None) for layer in part.modules()
    )


def _weights_of(part: nn.Module) -> list[tuple[int, int]]:
    """Return what differs when a weight of a part was changed, or has been replaced."""
    return [(id(weight), weight._version) for weight in (*part.parameters(), *part.buffers())]


class Remembered:
    """The forward pass of a part while it is frozen, of each image once.

    Anything but one tensor of images, or features of which the first dimension is not theirs, passes the network as ever.

    Args:
        part: images (N, C, H, W) to one tensor (N, ...), those of each image its own.
        in_training: whether images that are learned from come again, as they do unless they are augmented.
    """

    def __init__(self, part: nn.Module, in_training: bool = True) -> None:
        self._part, self._forward = part, part.forward
        self._in_training = in_training
        self._forget()

    def _forget(self) -> None:
        self._weights = _weights_of(self._part)
        self._row_of: dict[bytes, int] = {}
        self._key_of: list[bytes] = []
        self._features = torch.empty(0)
        self._next_row = 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Return what the part makes of images (N, C, H, W), or of whatever it takes."""
        images = arguments[0] if len(arguments) == 1 and not named else None
        if not isinstance(images, Tensor) or not self._is_asked_again(images):
            return self._forward(*arguments, **named)
        if _weights_of(self._part) != self._weights:
            self._forget()
        pixels = images.detach().contiguous().flatten(1).view(torch.uint8).numpy()
        keys = [hashlib.blake2b(image, digest_size=16).digest() for image in pixels]
        found = {key: self._features[self._row_of[key]].clone() for key in keys if key in self._row_of}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        # What is remembered in a validation is asked for in training too, which takes no tensor of inference_mode.
        with torch.inference_mode(False), torch.no_grad():
            for start in range(0, len(new), AT_ONCE):
                some = list(new)[start : start + AT_ONCE]
                features = self._computed(images, [new[key] for key in some])
                if not isinstance(features, Tensor) or features.shape[:1] != (AT_ONCE,):
                    return self._forward(images)
                for key, feature in zip(some, features, strict=False):  # the rest are repeated
                    found[key] = feature
                    self._keep(key, feature)
        return torch.stack([found[key] for key in keys])

    def _is_asked_again(self, images: Tensor) -> bool:
        learning = torch.is_grad_enabled()
        usual = images.ndim > 1 and len(images) > 0 and not images.requires_grad
        return usual and (self._in_training or not learning) and _is_frozen(self._part)

    def _computed(self, images: Tensor, places: list[int]) -> Any:
        """Return the features of the images at these places, the last one being repeated up to ``AT_ONCE``."""
        layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        padded = [*places, *places[-1:] * (AT_ONCE - len(places))]
        return self._forward(images[padded].contiguous(memory_format=layout))

    def _keep(self, key: bytes, feature: Tensor) -> None:
        if not self._key_of:
            self._features = feature.new_empty(max(1, MAX_BYTES // max(1, feature.nbytes)), *feature.shape)
        if self._next_row < len(self._key_of):
            del self._row_of[self._key_of[self._next_row]]
            self._key_of[self._next_row] = key
        else:
            self._key_of.append(key)
        self._features[self._next_row] = feature
        self._row_of[key] = self._next_row
        self._next_row = (self._next_row + 1) % len(self._features)
