from typing import Any

import pytest
import torch
from pytorch_metric_learning.losses import ContrastiveLoss
from torch import Tensor, nn

from lab.losses import TripletLoss
from lab.models import Classifier, Triplet, rehearse
from lab.nets import ConvNet

BATCH = (torch.rand(8, 1, 28, 28), torch.arange(8) % 4)


class Encoder(nn.Module):
    """Returns whatever it was made with, instead of embeddings."""

    embedding_size = 6

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, images: Tensor) -> Any:
        return self.make(images)


class Loss(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, outputs: Tensor, labels: Tensor) -> Any:
        return self.make(outputs)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Triplet(Encoder(lambda images: images)), r"must be one vector an image, \(8, D\), not \(8, 1, 28, 28\)"),
        (Triplet(Encoder(lambda images: images.flatten(1)[:3])), r"one vector an image, \(8, D\), not \(3, 784\)"),
        (Triplet(Encoder(lambda images: (images, 3))), "must be a tensor, not tuple"),
        (
            Triplet(Encoder(lambda images: images @ torch.zeros(3, 2))),
            r"cannot take 8 images \(1, 28, 28\): RuntimeError",
        ),
        (Triplet(ConvNet(width=2), Loss(lambda outputs: outputs.sum(1))), r"must be one number, .* not \(8,\)"),
        (Triplet(ConvNet(width=2), Loss(lambda outputs: 3.0)), "must be one number, .* not float"),
        (Classifier(ConvNet(width=2), 3, nn.CrossEntropyLoss()), "IndexError: Target 3 is out of bounds"),
    ],
)
def test_what_does_not_fit_together_is_told_from_a_first_batch(model: Triplet | Classifier, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rehearse(model, BATCH)


@pytest.mark.parametrize("model", [Triplet(ConvNet(width=2)), Classifier(ConvNet(width=2), 4)])
def test_a_rehearsal_changes_nothing(model: Triplet | Classifier) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    rehearse(model, BATCH)
    assert model.training
    assert all(torch.allclose(before[name], value, equal_nan=True) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.evaluation_averages.update_called
    assert not model.metrics.update_called
    assert not model.metrics.images


def test_a_rehearsal_draws_its_random_numbers_apart_tracks_no_gradient_and_leaves_each_layer_in_its_mode() -> None:
    class Random(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.trained = nn.BatchNorm1d(784).eval(), nn.Linear(784, 4)

        def forward(self, images: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            assert not self.training
            outputs: Tensor = self.trained(self.frozen(images.flatten(1) + torch.rand(1)))
            return outputs

    model = Triplet(Random())
    modes = {name: part.training for name, part in model.named_modules()}
    random_state = torch.get_rng_state()
    rehearse(model, BATCH)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert not modes["encoder.frozen"]


def test_a_rehearsal_gives_lazy_layers_their_sizes() -> None:
    model = Triplet(nn.Sequential(nn.Flatten(), nn.LazyLinear(5)))
    rehearse(model, BATCH)
    assert model.encoder[1].weight.shape == (5, 784)  # type: ignore[index]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.MultiMarginLoss()])
def test_a_loss_of_logits_is_no_loss_of_embeddings(loss: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"embeddings to give, and {type(loss).__name__} is a loss of logits"):
        Triplet(ConvNet(width=2), loss)


@pytest.mark.parametrize("loss", [TripletLoss(), ContrastiveLoss()])
def test_a_loss_of_embeddings_is_no_loss_of_logits(loss: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"Classifier has logits to give, and {type(loss).__name__} is a loss of embeddings"):
        Classifier(ConvNet(width=2), 4, loss)


def test_a_loss_that_does_not_say_what_it_takes_is_believed_to_take_it() -> None:
    loss = Loss(lambda outputs: outputs.square().mean())
    for model in (Triplet(ConvNet(width=2), loss), Classifier(ConvNet(width=2), 4, loss)):
        rehearse(model, BATCH)
        assert model.loss is loss
