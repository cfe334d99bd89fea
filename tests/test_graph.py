from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch import Tensor, nn

from lab.callbacks.graph import graph_of
from lab.models import Classifier, SplitImage
from lab.nets import MLP, ConvNet

IMAGES = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A layer around which its input is added."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1), nn.ReLU(inplace=True))
        self.unused = nn.Linear(1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 784)."""
        return torch.relu_(self.body(images) + images).flatten(1)


def _inputs(graph: GraphDef) -> dict[str, list[str]]:
    return {node.name: list(node.input) for node in graph.node}


def test_a_graph_has_each_function_in_its_layer_with_what_goes_in() -> None:
    body = "Residual/Sequential[body]"
    assert _inputs(graph_of(Residual(), IMAGES)) == {
        "images": [],
        f"{body}/Conv2d[0]/weight": [],
        f"{body}/Conv2d[0]/bias": [],
        f"{body}/Conv2d[0]/conv2d": ["images", f"{body}/Conv2d[0]/weight", f"{body}/Conv2d[0]/bias"],
        **{f"{body}/BatchNorm2d[1]/{name}": [] for name in ("running_mean", "running_var", "weight", "bias")},
        f"{body}/BatchNorm2d[1]/batch_norm": [
            f"{body}/Conv2d[0]/conv2d",
            *(f"{body}/BatchNorm2d[1]/{name}" for name in ("running_mean", "running_var", "weight", "bias")),
        ],
        f"{body}/ReLU[2]/relu": [f"{body}/BatchNorm2d[1]/batch_norm"],
        "Residual/add": [f"{body}/ReLU[2]/relu", "images"],
        "Residual/relu": ["Residual/add"],
        "Residual/flatten": ["Residual/relu"],
        "output": ["Residual/flatten"],
    }


def test_a_node_shows_the_shape_of_what_comes_out() -> None:
    nodes = {node.name: node for node in graph_of(Classifier(MLP(hidden_sizes=(8,), embedding_size=4), 10), IMAGES).node}
    shapes = {
        name: [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim]
        for name, node in nodes.items()
        if node.attr["_output_shapes"].list.shape
    }
    assert shapes["images"] == [2, 1, 28, 28]
    assert shapes["Classifier/Linear[head]/weight"] == [10, 4]
    assert shapes["Classifier/Linear[head]/linear"] == [2, 10]


def test_what_stands_twice_has_two_names_and_weights_that_are_shared_one() -> None:
    shared = nn.Linear(784, 784)
    inputs = _inputs(graph_of(nn.Sequential(nn.Flatten(), shared, shared), IMAGES))
    linear = [name for name in inputs if "/linear" in name]
    weight = [name for name in inputs if name.endswith("/weight")]
    assert len(linear) == 2 and len(weight) == 1
    assert all(weight[0] in inputs[name] for name in linear)
    assert linear[0] in inputs[linear[1]]


def test_the_output_comes_from_the_images_in_every_model() -> None:
    model = SplitImage(ConvNet((1, 28, 14), width=2), 10)
    inputs = _inputs(graph_of(model, IMAGES))
    reached, ahead = set(), ["output"]
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead += [source for source in inputs[name] if source not in reached]
    assert "images" in reached
    assert reached == set(inputs)  # nothing hangs in the air


def test_a_layer_whose_functions_cannot_be_seen_is_one_node() -> None:
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, images: Tensor) -> Tensor:
            return images.detach().clone() * 2

    class Layer(nn.Module):
        def forward(self, images: Tensor) -> Any:
            """Double the images."""
            with torch._C.DisableTorchFunction():  # as what is compiled is not seen
                return Hidden.apply(images)

    inputs = _inputs(graph_of(nn.Sequential(Layer(), nn.ReLU()), IMAGES))
    assert inputs["Sequential/Layer[0]/forward"] == ["images"]
    assert inputs["Sequential/ReLU[1]/relu"] == ["Sequential/Layer[0]/forward"]


def test_a_network_is_left_as_it_was_with_the_random_numbers(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1), nn.Dropout()).train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    numbers = torch.get_rng_state()
    graph_of(model, IMAGES)
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_network_that_fails_is_left_as_it_was_too() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 5)).train()
    with pytest.raises(RuntimeError, match="shapes"):
        graph_of(model, IMAGES)
    assert model.training and not any(module._forward_hooks for module in model.modules())
