import itertools
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from lab.data import Synthetic
from lab.losses import ContrastiveLoss, ExponentialLoss, PairCrossEntropy, TripletLoss
from lab.metrics import EmbeddingMetrics
from lab.models import Siamese, load
from lab.nets import MLP, ConvNet

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def _net(height: int = 8, seed: int = 0) -> MLP:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MLP((1, height, 8), hidden_sizes=(6,), embedding_size=4)


def _balanced_mean(values: dict[tuple[int, int], float]) -> tuple[float, float]:
    """Return the mean over same-class pairs and the mean over all others, of one value a pair of images."""
    same = [value for (i, j), value in values.items() if LABELS[i] == LABELS[j]]
    different = [value for (i, j), value in values.items() if LABELS[i] != LABELS[j]]
    return sum(same) / len(same), sum(different) / len(different)


def test_the_loss_is_that_of_all_same_class_pairs_and_as_many_others() -> None:
    # With a loss that is a constant for every different-class pair, the draw of these does not matter.
    class Loss(nn.Module):
        def forward(self, distances: Tensor, same: Tensor) -> Tensor:
            assert len(same) == 2 * 18
            assert same.sum() == 18
            return torch.where(same.bool(), distances, torch.tensor(5.0)).mean()

    model = Siamese(_net(), Loss())
    with torch.no_grad():
        embeddings = _net()(IMAGES)
        distances = {(i, j): (embeddings[i] - embeddings[j]).norm().item() for i, j in itertools.combinations(range(12), 2)}
    mean_same, _ = _balanced_mean(distances)
    assert model.step((IMAGES, LABELS))["loss"].item() == pytest.approx((mean_same + 5.0) / 2, rel=1e-5)


def test_each_image_passes_the_encoder_once_however_many_pairs_it_is_in() -> None:
    seen = []
    model = Siamese(_net())
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    model.step((IMAGES, LABELS))
    assert seen == [12]


def test_cosine_and_logistic_heads_compare_as_their_formulas_say() -> None:
    first, second = torch.randn(5, 4), torch.randn(5, 4)
    cosine = Siamese(_net(), head="cosine").compare(first, second)
    expected = [1 - float(a @ b / (a.norm() * b.norm())) for a, b in zip(first, second, strict=True)]
    assert cosine.tolist() == pytest.approx(expected, abs=1e-6)
    model = Siamese(_net(), head="logistic")
    assert isinstance(model.loss, PairCrossEntropy)
    weights, bias = model.state_dict()["head.layer.weight"][0], model.state_dict()["head.layer.bias"]
    logits = [float(weights @ (a - b).abs() + bias) for a, b in zip(first, second, strict=True)]
    assert model.compare(first, second).tolist() == pytest.approx(logits, abs=1e-6)
    assert model.pair_distance(first, second).tolist() == pytest.approx([-logit for logit in logits], abs=1e-6)


@pytest.mark.parametrize("head", ["euclidean", "cosine", "logistic"])
def test_comparing_is_symmetric_in_the_two_images(head: Any) -> None:
    model = Siamese(_net(), head=head)
    first, second = torch.randn(5, 4), torch.randn(5, 4)
    torch.testing.assert_close(model.compare(first, second), model.compare(second, first))


def test_two_encoders_see_the_first_and_the_second_image_of_a_pair_and_share_nothing() -> None:
    model = Siamese(_net(4, 1), other_encoder=_net(4, 2), views="upper_lower")
    embeddings = model(IMAGES)
    torch.testing.assert_close(embeddings[:, :4], _net(4, 1)(IMAGES[:, :, :4]))
    torch.testing.assert_close(embeddings[:, 4:], _net(4, 2)(IMAGES[:, :, 4:]))
    distances = model.compare(embeddings[:3], embeddings[3:6])
    expected = [(embeddings[i, :4] - embeddings[i + 3, 4:]).norm().item() for i in range(3)]
    assert distances.tolist() == pytest.approx(expected, rel=1e-5)
    model.step((IMAGES, LABELS))["loss"].backward()
    parameters = dict(model.named_parameters())
    assert all(parameter.grad is not None for parameter in parameters.values())
    assert len({id(parameter) for parameter in parameters.values()}) == 8


def test_encoders_of_different_lengths_are_refused() -> None:
    model = Siamese(_net(), other_encoder=MLP((1, 8, 8), (6,), embedding_size=3))
    with pytest.raises(ValueError, match=r"model\.other_encoder: its outputs are 3 long, those of model\.encoder 4"):
        model(IMAGES)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("head", ["euclidean", "logistic"])
def test_it_trains_and_is_scored_in_other_precisions(head: Any, precision: Any) -> None:
    data = Synthetic(num_train_images=400, num_test_images=40, batch_size=20)
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", precision=precision, **off)
    model = Siamese(ConvNet(width=2, embedding_size=4), head=head)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert all(trainer.callback_metrics[name].isfinite() for name in ("test/loss", "test/auc", "test/pair_accuracy"))


def test_two_views_through_one_encoder_pass_it_in_one_call() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = MLP((1, 8, 4), hidden_sizes=(6,), embedding_size=4)
            self.sizes: list[int] = []

        def forward(self, images: Tensor) -> Tensor:
            self.sizes.append(len(images))
            outputs: Tensor = self.net(images)
            return outputs

    net = Net()
    model = Siamese(net, views="left_right")
    embeddings = model(IMAGES)
    assert net.sizes == [24]
    torch.testing.assert_close(embeddings[:, 4:], net.net(IMAGES[:, :, :, 4:]))


def test_the_encoders_shape_is_that_of_a_view() -> None:
    assert Siamese.encoder_image_shape((3, 28, 20), {}) == (3, 28, 20)
    assert Siamese.encoder_image_shape((3, 28, 20), {"views": "upper_lower"}) == (3, 14, 20)
    assert Siamese.encoder_image_shape((3, 28, 20), {"views": "left_right"}) == (3, 28, 10)


def test_a_batch_of_one_class_has_no_pairs_and_gives_a_zero_that_can_be_differentiated() -> None:
    model = Siamese(_net())
    loss = model.step((IMAGES, torch.zeros(12, dtype=torch.int64)))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_num_pairs_limits_the_pairs_of_a_batch() -> None:
    class Count(nn.Module):
        def forward(self, distances: Tensor, same: Tensor) -> Tensor:
            assert len(distances) == 6
            return distances.sum()

    Siamese(_net(), Count(), num_pairs=6).step((IMAGES, LABELS))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"head": "manhattan"}, "head, 'manhattan', must be euclidean, cosine or logistic"),
        ({"views": "both"}, "views, 'both'"),
        ({"embedding_size": 9}, "embedding_size 9 has no effect with head euclidean"),
        ({"head": "cosine", "loss": ContrastiveLoss(margin=5)}, "model.loss.margin 5 is never reached by cosine distances"),
        ({"num_pairs": 1}, "num_pairs must be 2 or more, not 1"),
        ({"loss": PairCrossEntropy()}, "has pair distances to give, and PairCrossEntropy is a loss of pair logits"),
        (
            {"loss": ContrastiveLoss(), "head": "logistic"},
            "has pair logits to give, and ContrastiveLoss is a loss of pair dist",
        ),
        ({"loss": TripletLoss()}, "TripletLoss is a loss of embeddings"),
        ({"loss": nn.CrossEntropyLoss()}, "CrossEntropyLoss is a loss of logits"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Siamese(_net(), **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"loss": ExponentialLoss(constant=5.0)},
        {"head": "cosine", "loss": ContrastiveLoss(margin=0.5)},
        {"head": "logistic"},
        {"loss": nn.BCEWithLogitsLoss(), "head": "logistic"},
        pytest.param(
            {"other_encoder": ConvNet((1, 14, 28), width=8, embedding_size=16), "views": "upper_lower"}, marks=pytest.mark.slow
        ),
    ],
)
def test_training_tells_pairs_of_synthetic_patterns_apart_and_the_checkpoint_keeps_the_threshold(
    arguments: dict[str, Any], tmp_path: Any
) -> None:
    pl.seed_everything(0)
    data = Synthetic(num_train_images=600, num_test_images=100, batch_size=40, samples_per_class=4)
    shape = (1, 14, 28) if "views" in arguments else (1, 28, 28)
    model = Siamese(ConvNet(shape, width=8, embedding_size=16), **arguments)
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(max_epochs=15 if "views" in arguments else 6, accelerator="cpu", **off)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    scores = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert scores["test/pair_accuracy"] > 0.8
    assert scores["test/auc"] > 0.9
    learned = "head" in arguments and arguments["head"] == "logistic"
    assert ("test/nearest_neighbor_accuracy" in scores) == (not learned and "views" not in arguments)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = load(tmp_path / "a.ckpt")
    assert isinstance(again.metrics, EmbeddingMetrics)
    assert isinstance(model.metrics, EmbeddingMetrics)
    assert again.metrics.threshold == model.metrics.threshold
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(again(images), model.eval()(images))


@pytest.mark.parametrize("head", ["euclidean", "cosine", "logistic"])
def test_the_same_run_twice_gives_the_same_weights_and_scores(head: Any) -> None:
    def run() -> tuple[dict[str, Tensor], dict[str, float]]:
        pl.seed_everything(0)
        data = Synthetic(num_train_images=400, num_test_images=100, batch_size=80, samples_per_class=8)
        model = Siamese(ConvNet(width=4, embedding_size=64), head=head)
        off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        trainer = pl.Trainer(max_epochs=3, accelerator="cpu", **off)
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)
        return dict(model.state_dict()), {name: value.item() for name, value in trainer.callback_metrics.items()}

    (weights, scores), (same_weights, same_scores) = run(), run()
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    assert scores == same_scores
