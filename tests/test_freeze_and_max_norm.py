from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROJECT, Script
from lightning.pytorch import Trainer
from test_command_line import SMALL_DIGITS, TINY
from torch import Tensor, nn

from lab.callbacks import Freeze, MaxNorm
from lab.callbacks.defaults import default_callbacks
from lab.callbacks.freeze import what_trains
from lab.callbacks.max_norm import bounded
from lab.data import Synthetic
from lab.models import Classifier, Siamese, load_weights_from
from lab.nets import MLP, ConvNet

CLASSIFIER = str(PROJECT / "configs" / "classifier.yaml")


def _fit(model: Classifier, *callbacks: Freeze | MaxNorm, epochs: int = 2) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, Synthetic(num_train_images=100, batch_size=20))
    return trainer


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_a_frozen_encoder_keeps_its_weights_and_what_batch_norm_measured_while_the_head_trains() -> None:
    torch.manual_seed(0)
    model = Classifier(ConvNet(width=4), 10)
    encoder, head = _weights(model.encoder), _weights(model.head)
    trainer = _fit(model, Freeze(["encoder"]))
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())
    assert not torch.equal(model.get_parameter("head.weight"), head["weight"])
    assert sum(len(group["params"]) for group in trainer.optimizers[0].param_groups) == 2


def test_a_single_layer_or_parameter_can_be_frozen() -> None:
    model = Classifier(MLP(hidden_sizes=[8, 8], embedding_size=8), 10)
    before = _weights(model)
    _fit(model, Freeze(["encoder.layers.1", "head.bias"]), epochs=1)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"encoder.layers.3.weight", "encoder.layers.3.bias", "encoder.layers.5.weight", "encoder.layers.5.bias",
                       "head.weight"}  # fmt: skip


def test_dropout_of_a_frozen_part_is_off_and_that_of_the_rest_on() -> None:
    first, second = MLP(hidden_sizes=[8], embedding_size=8, dropout=0.5), MLP((8,), [8], embedding_size=8, dropout=0.5)
    model = Classifier(nn.Sequential(first, second), 10, embedding_size=8)
    modes: list[tuple[bool, bool]] = []

    class Look(Freeze):
        def on_train_batch_start(self, *_: Any) -> None:
            modes.append((first.layers[3].training, second.layers[3].training))

    _fit(model, Look(["encoder.0"]))
    assert modes == [(False, True)] * 8


@pytest.mark.parametrize(
    ("name", "near"), [("encoder.layer.1", "encoder.layers.1"), ("haed", "head"), ("", "head"), ("metrics", "")]
)
def test_a_part_that_is_not_there_is_named_with_the_nearest(name: str, near: str) -> None:
    model = Classifier(MLP(hidden_sizes=[8]), 10)
    with pytest.raises(ValueError, match=rf"callbacks.freeze: Classifier has no part '{name}' with weights.*'{near}"):
        _fit(model, Freeze([name]))


def test_what_trains_is_said_by_the_largest_parts() -> None:
    model = Classifier(MLP(hidden_sizes=[8, 8]), 10)
    assert what_trains(model) == ""
    model.encoder.requires_grad_(False)
    assert what_trains(model) == "trains: head; frozen: encoder"
    model.get_submodule("encoder.layers.3").requires_grad_(True)
    assert what_trains(model) == "trains: encoder.layers.3, head; frozen: encoder.layers.1, encoder.layers.5"


def _bounded_by_loops(weight: Tensor, max_norm: float, weights: str) -> Tensor:
    """Do the same unit by unit, in plain Python."""
    result = weight.clone()
    for unit in range(weight.shape[0 if weights == "incoming" else 1]):
        vector = result[unit] if weights == "incoming" else result[:, unit]
        norm = sum(float(value) ** 2 for value in vector.flatten()) ** 0.5
        if norm > max_norm:
            vector *= max_norm / norm
    return result


@pytest.mark.parametrize("weights", ["incoming", "outgoing"])
@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 2, 2)])
def test_weights_are_bounded_as_by_a_loop_over_units(shape: tuple[int, ...], weights: str) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight[0] *= 0.01  # which stays as it is
    found = bounded(weight, 1.5, weights)  # type: ignore[arg-type]
    assert torch.allclose(found, _bounded_by_loops(weight, 1.5, weights), rtol=1e-12, atol=0)
    assert torch.allclose(bounded(found, 1.5, weights), found, rtol=1e-12, atol=0)  # type: ignore[arg-type]
    other = bounded(weight.transpose(0, 1), 1.5, "outgoing" if weights == "incoming" else "incoming")
    assert torch.allclose(found.transpose(0, 1), other, rtol=1e-12, atol=0)


def test_a_unit_whose_weights_are_all_zero_stays_so() -> None:
    assert torch.equal(bounded(torch.zeros(2, 3), 1.0, "incoming"), torch.zeros(2, 3))


@pytest.mark.parametrize("weights", ["incoming", "outgoing"])
def test_after_training_no_weight_vector_of_the_encoder_is_longer_than_the_bound(weights: str) -> None:
    torch.manual_seed(0)
    model = Classifier(MLP(hidden_sizes=[8], embedding_size=8, initialization="he_normal"), 10)
    _fit(model, MaxNorm(0.2, weights))  # type: ignore[arg-type]
    for name in ("encoder.layers.1.weight", "encoder.layers.3.weight"):
        norms = model.get_parameter(name).norm(dim=1 if weights == "incoming" else 0)
        assert norms.max() <= 0.2 + 1e-6
        assert norms.max() > 0.19  # the bound was reached: there was something to do
    assert model.head.weight.norm(dim=1).max() > 0.5  # type: ignore[operator]


@pytest.mark.parametrize(("options", "complaint"), [((0.0,), "max_norm must be a positive"), ((1.0, "up"), "incoming or")])
def test_bounds_that_cannot_be_are_refused(options: tuple[object, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        MaxNorm(*options)  # type: ignore[arg-type]


def test_a_bound_on_an_encoder_that_is_frozen_is_refused() -> None:
    with pytest.raises(ValueError, match="it has none that train"):
        _fit(Classifier(MLP(hidden_sizes=[8]), 10), Freeze(["encoder"]), MaxNorm(1.0))


def test_a_second_stage_on_frozen_weights_says_what_trains_and_stays_frozen_when_it_goes_on(
    script: Script, tmp_path: Path
) -> None:
    first = script("fit.py", "--config", CLASSIFIER, *TINY, *SMALL_DIGITS, "--name", "first")
    assert first.returncode == 0, first.stderr
    best = "runs/first/version_0/checkpoints/best.ckpt"
    stage = (*TINY, *SMALL_DIGITS, "--trainer.max_epochs", "1", "--model.scheduler", "null")
    frozen = ("--encoder_from", best, "--callbacks.freeze", "[encoder]")
    second = script("fit.py", "--config", CLASSIFIER, *stage, *frozen, "--name", "second")
    assert second.returncode == 0, second.stderr
    assert "trains: head; frozen: encoder" in second.stdout
    run = "runs/second/version_0"
    longer = script("fit.py", "--resume", run, "--trainer.max_epochs", "2")
    assert longer.returncode == 0, longer.stderr
    assert "trains: head; frozen: encoder" in longer.stdout
    before, after = (
        torch.load(tmp_path / path, weights_only=True)["state_dict"] for path in (best, f"{run}/checkpoints/last.ckpt")
    )
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("encoder."))
    assert not torch.equal(before["head.weight"], after["head.weight"])
    thawed = script("fit.py", "--resume", run, "--trainer.max_epochs", "3", "--callbacks.freeze", "null")
    assert thawed.returncode == 2
    assert "leave callbacks.freeze as it was, or begin a new run by --weights_from" in thawed.stderr


def test_all_weights_can_be_taken_over_but_not_those_of_another_network_or_of_other_classes(
    script: Script, tmp_path: Path
) -> None:
    assert script("fit.py", "--config", CLASSIFIER, *TINY, *SMALL_DIGITS, "--name", "first").returncode == 0
    best = "runs/first/version_0/checkpoints/best.ckpt"
    still = ("--model.scheduler", "null", "--model.optimizer.lr", "0", "--weights_from", best)
    done = script("fit.py", "--config", CLASSIFIER, *TINY, *SMALL_DIGITS, *still, "--name", "second")
    assert done.returncode == 0, done.stderr
    assert f"tensors loaded from {best}" in done.stdout
    before, after = (
        torch.load(tmp_path / path, weights_only=True)["state_dict"]
        for path in (best, "runs/second/version_0/checkpoints/last.ckpt")
    )
    for name in ("encoder.layers.0.weight", "head.weight", "head.bias"):
        assert torch.equal(before[name], after[name])
    other = script("fit.py", "--config", CLASSIFIER, *TINY, *SMALL_DIGITS, *still, "--model.encoder.width", "3")
    assert other.returncode == 2
    assert "does not fit the model of the config" in other.stderr
    both = script("fit.py", "--config", CLASSIFIER, *TINY, *SMALL_DIGITS, *still, "--encoder_from", best)
    assert both.returncode == 2
    assert "encoder_from and weights_from each say which weights" in both.stderr


def test_weights_bring_the_normalization_that_they_were_trained_with(tmp_path: Path) -> None:
    model = Classifier(MLP(hidden_sizes=[4]), 10)
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                      enable_checkpointing=False)  # fmt: skip
    trainer.fit(model, Synthetic(num_train_images=100, batch_size=20))
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    before = trainer.datamodule.mean  # type: ignore[attr-defined]
    data = Synthetic(num_train_images=200, batch_size=20, noise=0.5)
    load_weights_from(Classifier(MLP(hidden_sizes=[4]), 10), data, tmp_path / "first.ckpt")
    data.setup()
    assert torch.equal(data.mean, before)
    others = Synthetic(num_classes_made=12, classes=[f"pattern {i}" for i in range(2, 12)])
    with pytest.raises(
        ValueError,
        match=r"first.ckpt: the checkpoint was trained on the classes .* take over the encoder alone, by encoder_from",
    ):
        load_weights_from(Classifier(MLP(hidden_sizes=[4]), 10), others, tmp_path / "first.ckpt")


def test_frozen_parts_stay_frozen_where_a_run_goes_on_in_the_middle_of_an_epoch(script: Script, tmp_path: Path) -> None:
    stage = [*TINY, *SMALL_DIGITS, "--model.scheduler", "null", "--callbacks.freeze", "[encoder]"]
    stage += ["--data.augmentation", "null"]  # so that what the encoder makes of an image is remembered
    whole = script("fit.py", "--config", CLASSIFIER, *stage, "--name", "whole")
    assert whole.returncode == 0, whole.stderr
    assert "callbacks.freeze keeps weights that nothing has trained" in whole.stdout
    (tmp_path / "stops.py").write_text(
        "from pathlib import Path\n"
        "from lightning.pytorch import Callback\n"
        "class Stop(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        "        if trainer.global_step == 3 and not Path('stopped').exists():\n"
        "            Path('stopped').touch()\n"
        "            raise KeyboardInterrupt\n"
    )
    stop = ("--trainer.callbacks", "stops.Stop", "--callbacks.save_every_n_steps", "2")
    assert script("fit.py", "--config", CLASSIFIER, *stage, *stop, "--name", "parted").returncode == 130
    done = script("fit.py", "--resume", "runs/parted/version_0", "--trust", "stops")
    assert done.returncode == 0, done.stderr
    states = [
        torch.load(tmp_path / "runs" / name / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parted")
    ]
    assert any(name.endswith("running_var") for name in states[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_bound_that_cannot_be_leaves_no_folder(script: Script, tmp_path: Path) -> None:
    done = script("fit.py", "--config", CLASSIFIER, *TINY, *SMALL_DIGITS, "--callbacks.max_norm", "-1")
    assert done.returncode == 2
    assert done.stderr == "error: callbacks.max_norm must be a positive number, not -1.0\n"
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_both_encoders_of_a_pseudo_siamese_model_are_bounded() -> None:
    torch.manual_seed(0)
    data = Synthetic(num_train_images=100, batch_size=20)
    model = Siamese(MLP(hidden_sizes=[4], embedding_size=4), other_encoder=MLP(hidden_sizes=[4], embedding_size=4))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[MaxNorm(0.2)], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, data)
    for part in ("encoder", "other_encoder"):
        assert model.get_parameter(f"{part}.layers.1.weight").norm(dim=1).max() <= 0.2 + 1e-6


def test_which_weights_are_bounded_is_not_said_without_a_bound() -> None:
    with pytest.raises(
        ValueError, match=r"callbacks.max_norm_weights has no effect without a bound: set callbacks.max_norm too"
    ):
        default_callbacks(None, max_norm_weights="outgoing")


def test_where_everything_is_frozen_it_is_said_by_what(script: Script, tmp_path: Path) -> None:
    config = str(PROJECT / "configs" / "classifier.yaml")
    done = script("fit.py", "--config", config, "--callbacks.freeze", "[encoder, head]", "--trainer.default_root_dir", "runs")
    assert done.returncode == 2
    assert "nothing is left to train: callbacks.freeze keeps all parameters of the model; freeze fewer parts" in done.stderr
