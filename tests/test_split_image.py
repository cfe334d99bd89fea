import sys
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import PROJECT
from torch import Tensor, nn

from lab.cli import LabCLI
from lab.data import Synthetic
from lab.models import SplitImage
from lab.nets import MLP, ConvNet

IMAGES = torch.rand(5, 2, 6, 8, generator=torch.Generator().manual_seed(0))


class Flat(nn.Module):
    """Gives the pixels themselves."""

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) * self.one


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 1), (1, 4), (3, 2), (6, 8)])
def test_the_parts_are_the_image_cut_row_by_row(rows: int, columns: int) -> None:
    height, width = 6 // rows, 8 // columns
    parts = SplitImage(Flat(3), 3, rows=rows, columns=columns).parts(IMAGES)
    assert parts.shape == (5, rows * columns, 2, height, width)
    for row in range(rows):
        for column in range(columns):
            cut = IMAGES[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
            assert torch.equal(parts[:, row * columns + column], cut)


def test_merging_is_the_sum_the_mean_or_the_parts_side_by_side() -> None:
    upper, lower = IMAGES[:, :, :3].flatten(1), IMAGES[:, :, 3:].flatten(1)
    for merge, expected in (
        ("sum", upper + lower),
        ("mean", (upper + lower) / 2),
        ("concatenate", torch.cat([upper, lower], 1)),
    ):
        model = SplitImage(Flat(48), expected.shape[1], merge=merge, head="none")  # type: ignore[arg-type]
        torch.testing.assert_close(model(IMAGES), expected)


def test_with_a_linear_branch_it_is_one_matrix_for_both_halves_and_a_trained_bias() -> None:
    branch = MLP((1, 14, 28), hidden_sizes=(), embedding_size=10, bias=False)
    model = SplitImage(branch, 10, rows=2, merge="sum", head="bias")
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_930
    images, weight = torch.rand(4, 1, 28, 28), branch.state_dict()["layers.1.weight"]
    with torch.no_grad():
        bias = model.get_parameter("head.bias")
        assert not bias.any()
        bias.copy_(torch.arange(10.0))
    expected = images[:, 0, :14].reshape(4, 392) @ weight.T + images[:, 0, 14:].reshape(4, 392) @ weight.T + torch.arange(10.0)
    torch.testing.assert_close(model(images), expected)
    model.step((images, torch.arange(4)))["loss"].backward()
    assert bias.grad is not None
    assert bias.grad.any()


def test_the_branch_sees_all_parts_in_one_call() -> None:
    sizes = []
    branch = Flat(24)
    branch.register_forward_hook(lambda _, inputs, __: sizes.append(tuple(inputs[0].shape)))
    SplitImage(branch, 3, rows=2, columns=2).forward(IMAGES)
    assert sizes == [(20, 2, 3, 4)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rows": 0}, "rows 0 and columns 1 must be positive"),
        ({"merge": "product"}, "merge, 'product', must be sum, mean or concatenate"),
        ({"head": "bias"}, "there are 48 of them and 3 classes: set model.encoder.embedding_size 3"),
        ({"head": "cubic"}, "model.head must be linear, unit_linear, bias or none"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SplitImage(Flat(48), 3, **arguments)


def test_a_grid_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.rows 4 and model\.columns 1 must divide the image, which is 6x8"):
        SplitImage(Flat(48), 3, rows=4)(IMAGES)


def test_the_command_line_tells_the_branch_the_shape_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    config = str(PROJECT / "configs" / "split_image.yaml")
    grid = ["--model.rows", "2", "--model.columns", "4", "--model.encoder.depth", "2"]
    monkeypatch.setattr(sys, "argv", ["fit.py", "--config", config, *grid, "--trainer.fast_dev_run", "true"])
    assert LabCLI().model.encoder.image_shape == (1, 14, 7)


def test_it_learns_synthetic_patterns() -> None:
    pl.seed_everything(0)
    data = Synthetic(num_train_images=400, num_test_images=100, batch_size=20)
    model = SplitImage(ConvNet((1, 14, 28), width=8, embedding_size=8), 10, merge="concatenate")
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(max_epochs=6, accelerator="cpu", **off)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert trainer.callback_metrics["test/accuracy"] > 0.9
