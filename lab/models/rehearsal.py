"""A first step before the first step: what does not fit together is found before there is a run."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lab.models.base import Batch, Family


def rehearse(model: Family, batch: Batch) -> None:
    """Evaluate a model on a batch, and leave neither scores nor a changed random state behind.

    Lazy layers take their sizes from it.

    Raises:
        ValueError: naming the family and the images, if any part of it cannot take what the one before it gives, or if
            the outputs are not one vector an image or the loss is not one number.
    """
    images, labels = batch
    encoder = model.get_submodule("encoder")
    name, given = f"{type(model).__name__} with {type(encoder).__name__}", f"{len(images)} images {tuple(images.shape[1:])}"
    modes = {part: part.training for part in model.modules()}  # some may be kept in evaluation on purpose
    hook = encoder.register_forward_hook(_check_embeddings)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.eval()
        try:
            _tried(lambda: model(images), f"model.encoder: {name} cannot take {given}")
            loss = _tried(
                lambda: model.step((images, labels))["loss"], f"model.loss: {name} cannot take {given} and their labels"
            )
        finally:
            hook.remove()
            for part, training in modes.items():
                part.training = training
            model.metrics.reset()
            model.evaluation_averages.reset()
    if not isinstance(loss, Tensor) or loss.ndim:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"model.loss: the loss of {name} must be one number, a tensor without dimensions, not {shape}")
    if not loss.isfinite():
        raise ValueError(f"model.loss: the loss of {name} is {loss.item()} on the first {given}, before any training")


def _tried(action: Callable[[], Any], failure: str) -> Any:
    try:
        return action()
    except Exception as error:
        if str(error).startswith("model."):  # says itself what to change
            raise ValueError(str(error)) from error
        raise ValueError(f"{failure}: {type(error).__name__}: {error} (--debug shows where)") from error


def _check_embeddings(encoder: nn.Module, inputs: tuple[Tensor, ...], outputs: Any) -> None:
    """Make sure that an encoder gives one vector an image, as long as it says."""
    name, num = type(encoder).__name__, len(inputs[0])
    if not isinstance(outputs, Tensor):
        raise ValueError(f"model.encoder: the outputs of {name} must be a tensor, not {type(outputs).__name__}")
    if outputs.ndim != 2 or len(outputs) != num:
        given = f"{num} images {tuple(inputs[0].shape[1:])}"
        raise ValueError(
            f"model.encoder: the outputs of {name}, given {given}, must be one vector an image, ({num}, D), not "
            f"{tuple(outputs.shape)}"
        )
    size = getattr(encoder, "embedding_size", outputs.shape[1])
    if size != outputs.shape[1]:
        raise ValueError(f"model.encoder: {name} has embedding_size {size}, but its outputs are {outputs.shape[1]} long")
