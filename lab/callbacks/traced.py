"""What a network is made of, found by sending images through it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lab.plots import Layer


def layers_of(model: nn.Module, images: Tensor) -> list[Layer]:
    """Return the layers of a model that images (N, C, H, W) pass, in this order, with what comes out of each.

    A layer that several inputs go through, as the parts of an image, is listed once, with their number.
    """
    names = {module: name for name, module in model.named_modules()}
    leaves = [module for module in names if not any(True for _ in module.children())]
    passed: list[Layer] = []
    seen: set[nn.Module] = set()

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and module not in seen:
            seen.add(module)
            num = sum(parameter.numel() for parameter in module.parameters())
            branches = getattr(model, "num_branches", 1) if "encoder" in names[module].split(".")[0] else 1
            passed.append(Layer(names[module], _kind(module), tuple(output.shape[1:]), num, branches))

    _run(model, images, [(leaf, note) for leaf in leaves])
    return passed


def outputs_before(model: nn.Module, part: str, images: Tensor) -> Tensor:
    """Return what goes into a part of a model, such as the embeddings that go into ``head``, for images (N, C, H, W)."""
    found: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
        found.append(inputs[0].detach().float().cpu())

    _run(model, images, [(model.get_submodule(part), note)])
    return found[0]


def first_weights(model: nn.Module, images: Tensor) -> Tensor | None:
    """Return the weights of the first layer as pictures (K, C, h, w), where they look at pixels; else None."""
    found: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim in (2, 4) and not found:
            found.append(weight.detach().float().cpu())

    shapes: list[tuple[int, ...]] = []

    def note_shape(_: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
        shapes.append(tuple(inputs[0].shape[1:]))

    encoder = model.get_submodule("encoder")
    leaves = [module for module in encoder.modules() if not any(True for _ in module.children())]
    _run(model, images, [(leaf, note) for leaf in leaves] + [(encoder, note_shape)])
    if not found:
        return None
    if found[0].ndim == 4:
        return found[0]
    pixels = len(shapes) and torch.Size(shapes[0]).numel() == found[0].shape[1]
    return found[0].view(-1, *shapes[0]) if pixels else None


def _run(model: nn.Module, images: Tensor, hooks: list[tuple[nn.Module, Callable[..., None]]]) -> None:
    """Evaluate a model with hooks, and leave it, and the random numbers, as they were."""
    modes = {module: module.training for module in model.modules()}
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            model.eval()
            model(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def _kind(module: nn.Module) -> str:
    """Name a layer by its class and, where it has one, the size of its window."""
    size = getattr(module, "kernel_size", None)
    if size is None:
        return type(module).__name__
    return f"{type(module).__name__} {'x'.join(map(str, size)) if isinstance(size, tuple) else f'{size}x{size}'}"
