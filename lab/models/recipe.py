"""How an object was made, in plain Python, so that a checkpoint can make it again."""

import functools
import inspect
import logging
import os
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from lab.nets.pretrained import random_weights

log = logging.getLogger(__name__)


def family_recipe(family: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Describe a family by its arguments, whether they were read from a config or made in Python.

    What cannot be described is left out, with a warning, and must be given again to ``lab.models.load``.
    """
    described: dict[str, Any] = {"_class_path": f"{family.__module__}.{family.__qualname__}"}
    left_out = []
    for name, value in arguments.items():
        try:
            described.setdefault(name, recipe(value))
        except ValueError as error:
            left_out.append(name)
            log.warning("a checkpoint cannot tell how to make %r again (%s); give it to lab.models.load", name, error)
    return {**described, "_left_out": left_out}


def recipe(value: Any) -> Any:
    """Return numbers, texts, lists and dicts as they are, and an object as ``{"class_path": ..., "init_args": {...}}``.

    A ``functools.partial`` of a class, as optimizers are given, is described by its class and keywords. Any other object is
    described by the arguments of its constructor, which it must have kept as attributes of the same names, as the classes
    of lab and most of torch do; an object made again from them is compared with it.

    Raises:
        ValueError: naming the class, if an object has not kept them.
    """
    if isinstance(value, np.generic):  # which a checkpoint may not hold
        value = value.item()
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [recipe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): recipe(item) for key, item in value.items()}
    if isinstance(value, functools.partial):
        return {"class_path": _path(made_by(value)), "init_args": recipe(value.keywords)}
    if inspect.isclass(value):
        return {"class_path": _path(value)}
    return {"class_path": _path(type(value)), "init_args": recipe(_constructor_arguments(value))}


def made_by(maker: Any) -> Any:
    """Return the class that a callable makes objects of, where it says so, else the callable itself."""
    if isinstance(maker, functools.partial):
        # One that jsonargparse made holds the class among its arguments.
        return next((item for item in (maker.func, *maker.args) if inspect.isclass(item)), maker.func)
    return maker


def _path(named: Any) -> str:
    path = f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', '?')}"
    if not inspect.isclass(named) or "<" in path or path.startswith("__main__."):
        raise ValueError(f"{path} is not a class that another program could import")
    return path


def _constructor_arguments(made: Any) -> dict[str, Any]:
    """Collect what an object was made with from its attributes; one it has not kept must default to None."""
    parameters = inspect.signature(type(made)).parameters.values()
    for parameter in parameters:
        kept = getattr(made, parameter.name, parameter.default)
        if kept is parameter.empty or isinstance(kept, torch.Tensor):
            raise ValueError(f"{_path(type(made))} has not kept its argument {parameter.name!r} under that name")
    arguments = {p.name: getattr(made, p.name, p.default) for p in parameters}
    try:
        with torch.random.fork_rng(devices=[]), random_weights():
            again = type(made)(**arguments)
    except Exception as error:
        raise ValueError(f"{_path(type(made))} cannot be made from its attributes: {error}") from error
    if _looks(again) != _looks(made):
        raise ValueError(f"{_path(type(made))} has not kept its arguments as they were given")
    return arguments


def _looks(made: Any) -> dict[str, Any]:
    """Return the plain attributes of an object and the shapes of its tensors, by name."""
    plain = {name: value for name, value in vars(made).items() if isinstance(value, bool | int | float | str | tuple | None)}
    state = made.state_dict() if isinstance(made, torch.nn.Module) else {}
    shapes = {name: None if is_lazy(tensor) else tuple(tensor.shape) for name, tensor in state.items()}
    return {**plain, "training": None, **shapes}
