"""The layers of a network, as a diagram shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Layer:
    """One box of a diagram.

    Args:
        name: where the layer is in the network, with dots between a module and its parts, such as ``encoder.layers.0``.
        kind: what it is, such as ``Conv2d 3x3``.
        output_shape: the shape of its output, without the batch.
        num_parameters: how many parameters it has, counted once however many inputs go through it.
        branches: how many inputs go through it beside each other: 2 in a siamese network up to where it compares.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    branches: int = 1


def folded(layers: Sequence[Layer], most: int) -> list[Layer]:
    """Return at most so many layers, consecutive ones of one parent being folded into one where there are more.

    Parents are looked for from the innermost outwards, until the layers are few enough. Where no parents make them so,
    layers are folded by their order alone. Layers with and without branches are never folded into one.
    """
    if len(layers) <= most:
        return list(layers)
    deepest = max(layer.name.count(".") for layer in layers)
    for depth in range(deepest, 0, -1):
        groups = groupby(layers, key=lambda layer: (_up_to(layer.name, depth), layer.branches))
        shown = [_one_of(list(group), parent) for (parent, _), group in groups]
        if len(shown) <= most:
            return shown
    for size in range(2, len(layers) + 1):
        alike = [list(group) for _, group in groupby(layers, key=lambda layer: layer.branches)]
        shown = [_one_of(group[i : i + size], "") for group in alike for i in range(0, len(group), size)]
        if len(shown) <= most:
            break
    return shown


def _up_to(name: str, depth: int) -> str:
    """Return the parent of a name at a depth; a name that is not as deep stands for itself."""
    parts = name.split(".")
    return ".".join(parts[:depth]) if len(parts) > depth else name


def _one_of(layers: Sequence[Layer], name: str) -> Layer:
    """Return the layer that stands for consecutive ones: the last one's shape, and the parameters of all."""
    first, last = layers[0], layers[-1]
    if len(layers) == 1:
        return first
    kinds = {layer.kind for layer in layers}
    kind = f"{len(layers)} layers" + (f": {first.kind}" if len(kinds) == 1 else "")
    parameters = sum(layer.num_parameters for layer in layers)
    return Layer(name or f"{first.name} to {last.name}", kind, last.output_shape, parameters, last.branches)
