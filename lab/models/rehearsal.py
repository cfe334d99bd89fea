"""A first step before the first step: what does not fit together is found before there is a run."""

import torch
from torch import Tensor

from lab.models.base import Batch, Family


def rehearse(model: Family, batch: Batch) -> None:
    """Evaluate a model on a batch, and leave neither scores nor a changed random state behind.

    Lazy layers take their sizes from it.

    Raises:
        ValueError: naming the family and the images, if any part of it cannot take what the one before it gives, or if
            the outputs are not one vector an image or the loss is not one number.
    """
    images, labels = batch
    name, given = type(model).__name__, f"{len(images)} images {tuple(images.shape[1:])}"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        training = model.training
        model.eval()
        try:
            _check_shape(model(images), len(images), f"model.encoder: the encoder of {name}, given {given}, must return")
            loss = model.step((images, labels))["loss"]
        except ValueError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{name} cannot take {given} and their labels: {reason} (--debug shows where)") from error
        finally:
            model.train(training)
            if model.metrics is not None:
                model.metrics.reset()
            model.evaluation_averages.reset()
    if not isinstance(loss, Tensor) or loss.ndim:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"model.loss: the loss of {name} must be one number, a tensor without dimensions, not {shape}")


def _check_shape(outputs: object, num_images: int, must: str) -> None:
    if not isinstance(outputs, Tensor):
        raise ValueError(f"{must} a tensor, not {type(outputs).__name__}")
    if outputs.ndim != 2 or len(outputs) != num_images:
        raise ValueError(f"{must} one vector an image, ({num_images}, D), not {tuple(outputs.shape)}")
