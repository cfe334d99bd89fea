"""The graph of a network, as TensorBoard shows it, found by sending images through it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name


def graph_of(model: nn.Module, images: Tensor) -> GraphDef:
    """Return what a model computes of images (N, C, H, W): a node for each function, in the layer that calls it.

    ``torch.jit.trace``, by which TensorBoard's own writer finds a graph, keeps some megabytes of each model for good.
    """
    watched = _Watched(model, images)
    handles = [handle for module in model.modules() for handle in watched.hooks(module)]
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), watched:
            model.eval()
            output = model(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    for tensor in _tensors(output):
        watched.add("output", "output", [tensor], [])
    return GraphDef(node=watched.nodes)


class _Watched(TorchFunctionMode):
    """Notes each function of tensors that is called, by the layer it is called in."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.nodes: list[NodeDef] = []
        self.names: set[str] = set()
        self.made_by: dict[int, str] = {}
        self.kept: list[Tensor] = []  # so that no other tensor gets the identity of one that is gone
        self.inside: list[str] = []
        self.scopes = {module: _scope(model, name) for name, module in model.named_modules()}
        self.parameters = {id(tensor): self._full_name(model, name) for name, tensor in _parameters(model)}
        self.add("images", "images", [], [images])

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function, and note it if tensors come out."""
        output = func(*args, **(kwargs or {}))
        made = list(_tensors(output))
        if made:
            words = [word.strip("_") for word in (resolve_name(func) or "function").split(".")]
            kind = next(word for word in reversed(words) if word != "get")  # of an attribute
            self.add("/".join([*self.inside[-1:], kind]), kind, list(_tensors((args, kwargs))), made)
        return output

    def hooks(self, module: nn.Module) -> list[Any]:
        """Note when a layer is entered, and what comes out of one whose functions cannot be seen."""

        def enter(module: nn.Module, _: Any) -> None:
            self.inside.append(self.scopes[module])

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            made = [tensor for tensor in _tensors(output) if id(tensor) not in self.made_by]
            if made:
                self.add(f"{self.inside[-1]}/forward", "forward", list(_tensors(inputs)), made)
            self.inside.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def add(self, name: str, kind: str, inputs: list[Tensor], made: list[Tensor]) -> None:
        """Add a node that makes tensors of others."""
        for tensor in inputs:
            if id(tensor) not in self.made_by and id(tensor) in self.parameters:
                self.add(self.parameters[id(tensor)], "parameter", [], [tensor])
        number, unique = 0, name
        while unique in self.names:
            number += 1
            unique = f"{name}_{number}"
        self.names.add(unique)
        sources = dict.fromkeys(self.made_by[id(tensor)] for tensor in inputs if id(tensor) in self.made_by)
        shapes = [TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in tensor.shape]) for tensor in made]
        shown = {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=shapes))}
        self.nodes.append(NodeDef(name=unique, op=kind, input=list(sources), attr=shown))
        self.made_by.update({id(tensor): unique for tensor in made})
        self.kept += made

    def _full_name(self, model: nn.Module, name: str) -> str:
        owner, _, own = name.rpartition(".")
        return f"{self.scopes[model.get_submodule(owner)]}/{own}"


def _scope(model: nn.Module, name: str) -> str:
    """Name a layer by the classes and names of all that it is in."""
    parts = name.split(".") if name else []
    inside = [model.get_submodule(".".join(parts[: depth + 1])) for depth in range(len(parts))]
    return "/".join([type(model).__name__, *(f"{type(m).__name__}[{part}]" for m, part in zip(inside, parts, strict=True))])


def _parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
