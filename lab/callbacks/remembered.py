"""The frozen part of an encoder, which sees each image once."""

import hashlib
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

AT_ONCE = 8  # images, always, so that what an image gives does not depend on which others are asked for
MAX_BYTES = 2**28  # of features that are kept; then the oldest are forgotten


class RememberFeatures(Callback):
    """Keeps what the frozen part of an encoder makes of an image, so that it is computed once and not in every epoch.

    It is done on a CPU, where a convolutional network takes many times as long as to look up the digest of an image's pixels,
    and where the encoder, or the backbone of a ``Pretrained`` one, is all frozen. What is augmented anew is computed anew. The
    numbers are those of the network up to rounding, and the same ones in a run that is interrupted and goes on.
    """

    def __init__(self) -> None:
        self._parts: list[nn.Module] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to remember, after parts have been frozen."""
        encoders = [getattr(pl_module, name, None) for name in ("encoder", "other_encoder")]
        if pl_module.device.type == "cpu":
            self._parts = [part for part in map(frozen_part, encoders) if part is not None]
        for part in self._parts:
            part.forward = Remembered(part)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the networks as they were."""
        for part in self._parts:
            vars(part).pop("forward", None)  # which then is that of its class again
        self._parts = []

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self.on_train_end(trainer, pl_module)


def frozen_part(encoder: Any) -> nn.Module | None:
    """Return the encoder, or its backbone, if all of it is frozen and worth remembering: with convolutions."""
    for part in (encoder, getattr(encoder, "backbone", None)):
        if (
            isinstance(part, nn.Module)
            and any(isinstance(layer, nn.Conv2d) for layer in part.modules())
            and not any(parameter.requires_grad for parameter in part.parameters())
            and not any(layer.training for layer in part.modules())
        ):
            return part
    return None


class Remembered:
    """The forward pass of a part that does not change, of each image once.

    Args:
        part: images (N, C, H, W) to one tensor (N, ...), those of each image its own.
    """

    def __init__(self, part: nn.Module) -> None:
        self._part, self._forward = part, part.forward
        self._row_of: dict[bytes, int] = {}
        self._key_of: list[bytes] = []
        self._features = torch.empty(0)
        self._next_row = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Return what the part makes of images (N, C, H, W)."""
        if images.requires_grad or self._part.training or len(images) == 0:
            features: Tensor = self._forward(images)
            return features
        pixels = images.detach().contiguous().flatten(1).view(torch.uint8).numpy()
        keys = [hashlib.blake2b(image, digest_size=16).digest() for image in pixels]
        found = {key: self._features[self._row_of[key]].clone() for key in keys if key in self._row_of}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        # What is remembered in a validation is asked for in training too, which takes no tensor of inference_mode.
        with torch.inference_mode(False), torch.no_grad():
            for start in range(0, len(new), AT_ONCE):
                some = list(new)[start : start + AT_ONCE]
                for key, feature in zip(some, self._computed(images, [new[key] for key in some]), strict=True):
                    found[key] = feature
                    self._keep(key, feature)
            return torch.stack([found[key] for key in keys])

    def _computed(self, images: Tensor, places: list[int]) -> Tensor:
        """Return the features of the images at these places, the last one being repeated up to ``AT_ONCE``."""
        layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        padded = [*places, *places[-1:] * (AT_ONCE - len(places))]
        features: Tensor = self._forward(images[padded].contiguous(memory_format=layout))
        return features[: len(places)]

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
