"""Forward passes of a model's encoders that are others for a while."""

from collections.abc import Callable
from typing import Any

from torch import nn


def encoders_of(model: nn.Module) -> list[nn.Module]:
    """Return the encoder of a model, and the other one if it has two."""
    found = [getattr(model, name, None) for name in ("encoder", "other_encoder")]
    return list(dict.fromkeys(encoder for encoder in found if isinstance(encoder, nn.Module)))


class Forwards:
    """Puts forward passes in the place of those of networks, and takes them out again.

    Args:
        of: by network, the forward pass that it is to have.
    """

    def __init__(self, of: dict[nn.Module, Callable[..., Any]]) -> None:
        self._of = of
        self._before = {part: vars(part).get("forward") for part in of}

    def put_in(self) -> None:
        """Put them in."""
        for part, forward in self._of.items():
            part.forward = forward

    def take_out(self) -> None:
        """Leave the networks as they were."""
        for part, before in self._before.items():
            vars(part).pop("forward", None)  # which then is that of its class again
            if before is not None:
                part.forward = before
