import json
import math
import re
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import PROJECT, Script
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from lab.callbacks.collapse import CollapseGuard
from lab.callbacks.collapse_signs import measure
from lab.callbacks.remedies import asked_for, attempts
from lab.data import Synthetic
from lab.losses import ContrastiveLoss, TripletLoss
from lab.models import Classifier, Family, Siamese, Triplet
from lab.nets import MLP

SHAPE = (1, 12, 12)
FIVE_SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]


def _data() -> Synthetic:
    return Synthetic(
        num_train_images=500, num_test_images=50, stored_shape=SHAPE, batch_size=40, samples_per_class=4, validation_size=50,
        noise=0.25,
    )  # fmt: skip


def _triplet(lr: float, seed: int = 0, **loss: Any) -> Triplet:
    torch.manual_seed(seed)
    return Triplet(MLP(SHAPE, (64, 64), 16), TripletLoss(**loss), optimizer=partial(torch.optim.Adam, lr=lr))


def _train(model: Family, guard: CollapseGuard, epochs: int = 8, **settings: Any) -> dict[str, float]:
    trainer = pl.Trainer(
        **{"logger": False, "accelerator": "cpu", "max_epochs": epochs, "callbacks": [guard], "enable_checkpointing": False,
           "enable_progress_bar": False, "enable_model_summary": False, **settings}
    )  # fmt: skip
    trainer.fit(model, _data())
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def test_a_measurement_is_that_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, labels = torch.randn(12, 3, generator=generator), torch.arange(12) % 4
    measured = measure(embeddings, labels, 0.2, 0.25, cosine=False)
    active = 0
    for i in range(12):
        own = [torch.dist(embeddings[i], embeddings[j]).item() for j in range(12) if j != i and labels[j] == labels[i]]
        others = [torch.dist(embeddings[i], embeddings[j]).item() for j in range(12) if labels[j] != labels[i]]
        active += max(own) >= min(others)
    center = torch.tensor([statistics.median_low(embeddings[:, column].tolist()) for column in range(3)])
    spread = statistics.median_low(torch.dist(row, center).item() for row in embeddings)
    spread /= statistics.median_low(row.norm().item() for row in embeddings)
    assert measured is not None
    assert measured.active == pytest.approx(active / 12)
    assert measured.spread == pytest.approx(spread)
    assert measured.gap == pytest.approx(0.2)
    scaled = measure(embeddings * torch.rand(12, 1, generator=generator).add(0.1), labels, 0.2, 0.25, cosine=True)
    unscaled = measure(embeddings, labels, 0.2, 0.25, cosine=True)
    assert scaled is not None
    assert unscaled is not None
    assert (scaled.active, scaled.spread) == pytest.approx((unscaled.active, unscaled.spread))  # lengths say nothing


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_a_batch_without_both_kinds_of_pairs_shows_nothing(labels: list[int]) -> None:
    assert measure(torch.rand(4, 3), torch.tensor(labels), 1.0, 1.0, cosine=False) is None


@pytest.mark.parametrize("seed", FIVE_SEEDS)
def test_a_run_that_collapses_is_told_in_plain_words_what_to_change(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    guard = CollapseGuard()
    scores = _train(_triplet(0.03, seed, margin=0.25), guard)
    said = capsys.readouterr().out
    assert scores["val/recall@1"] < 0.2
    assert guard.collapsed_at[0] <= 60  # of which the first forty are the least that are looked at
    assert said.count("WARNING: training has collapsed by step") == 1  # once
    assert "--model.loss.mining all, or a lower --model.optimizer.lr" in said
    assert "--callbacks.collapse_remedy auto" in said


def test_a_collapse_from_which_one_class_stands_apart_is_noticed() -> None:
    guard = CollapseGuard()
    scores = _train(_triplet(0.1, margin="soft"), guard)
    assert scores["val/recall@1"] < 0.2
    assert guard.collapsed_at


def test_a_collapse_is_noticed_whatever_is_added_to_the_loss_or_how_it_is_divided() -> None:
    class Penalized(MLP):
        def penalty(self) -> Tensor:
            return 1.0 + 1e-3 * sum((parameter.square().sum() for parameter in self.parameters()), torch.zeros(()))

    model = _triplet(0.03, margin=0.25)
    torch.manual_seed(0)
    model.encoder = Penalized(SHAPE, (64, 64), 16)
    for collapsing, settings in ((model, {}), (_triplet(0.03, margin=0.25), {"accumulate_grad_batches": 2})):
        guard = CollapseGuard()
        _train(collapsing, guard, epochs=14, **settings)
        assert guard.collapsed_at


def test_the_guard_changes_nothing_of_a_loss_that_remembers_batches() -> None:
    class Remembering(TripletLoss):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__(mining="all")
            self.register_buffer("seen", torch.zeros(16))

        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            loss: Tensor = super().forward(embeddings, labels) + 1e-2 * (embeddings.mean(0) - self.seen).square().mean()
            self.seen = embeddings.detach().mean(0) + torch.rand(16)
            return loss

    def end(*guards: CollapseGuard) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = Triplet(MLP(SHAPE, (64, 64), 16), Remembering(), optimizer=partial(torch.optim.Adam, lr=0.001))
        trainer = pl.Trainer(accelerator="cpu", max_epochs=3, callbacks=list(guards), logger=False, enable_checkpointing=False,
                             enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        trainer.fit(model, _data())
        return dict(model.encoder.state_dict())

    guarded, alone = end(CollapseGuard()), end()
    assert all(torch.equal(guarded[name], alone[name]) for name in alone)


@pytest.mark.parametrize("seed", FIVE_SEEDS)
def test_the_remedy_saves_such_a_run(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = _triplet(0.03, seed, margin=0.25)
    scores = _train(model, CollapseGuard("auto"), epochs=25)
    assert "Remedy 1: begins again from the weights before training, with all triplets for an epoch" in capsys.readouterr().out
    assert scores["val/recall@1"] > 0.5
    assert math.isfinite(scores["train/loss"])


class _Recorder(pl.Callback):
    """Notes by what each step is trained."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[object, ...]] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        loss: Any = pl_module.loss
        settings = [getattr(loss, name, None) for name in ("mining", "reduction", "margin")]
        self.steps[trainer.global_step] = (*settings, trainer.optimizers[0].param_groups[0]["lr"])


def test_each_further_remedy_is_a_milder_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fortieth step is said to be a collapse; an epoch has eleven."""
    monkeypatch.setattr("lab.callbacks.collapse.is_collapse", lambda *measured: True)
    recorder, guard = _Recorder(), CollapseGuard("auto")
    _train(_triplet(0.01, margin=0.25), guard, epochs=16, callbacks=[recorder, guard])
    assert guard.collapsed_at == [40, 80, 120, 160]
    asked_for = ("batch_hard", "mean", 0.25, 0.01)
    assert recorder.steps[39] == asked_for
    assert recorder.steps[40] == recorder.steps[51] == ("all", "mean", 0.25, 0.01)
    assert recorder.steps[60] == recorder.steps[79] == asked_for
    assert recorder.steps[80] == recorder.steps[119] == ("all", "mean_nonzero", 0.25, 0.01)
    assert recorder.steps[120] == recorder.steps[159] == ("all", "mean", "soft", pytest.approx(1e-3))
    assert recorder.steps[160] == recorder.steps[170] == ("all", "mean", "soft", pytest.approx(1e-4))
    pairs = Siamese(MLP(SHAPE, (64, 64), 16), ContrastiveLoss(0.25), optimizer=partial(torch.optim.Adam, lr=0.01))
    recorder, guard = _Recorder(), CollapseGuard("auto")
    _train(pairs, guard, epochs=16, callbacks=[recorder, guard])
    rates = [recorder.steps[step][-1] for step in (39, 40, 80, 120, 170)]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5, 1e-5])
    assert {settings[:3] for settings in recorder.steps.values()} == {(None, None, 0.25)}


def test_a_remedy_that_the_loss_is_set_to_already_is_passed_over() -> None:
    def ways(**settings: Any) -> list[str]:
        return [attempt.way for attempt in attempts(asked_for(TripletLoss(**settings)))]

    slower = ["with all triplets and a soft margin, at a tenth of the learning rate"] * 2
    for_an_epoch, nonzero = "with all triplets for an epoch", "with all triplets, and the mean over those with a loss"
    assert ways(margin=0.25) == [for_an_epoch, nonzero, *slower]
    assert ways() == ways(margin=0.25, reduction="mean_nonzero") == [for_an_epoch, "with all triplets", *slower]
    assert ways(mining="all", margin=0.25) == [nonzero, *slower]
    assert ways(mining="all") == ways(mining="all", margin=0.25, reduction="mean_nonzero") == slower


@pytest.mark.slow
def test_a_remedy_begins_early_stopping_again_and_is_on_record(script: Script, tmp_path: Path) -> None:
    network = ("--model.encoder", "lab.nets.MLP", "--model.encoder.hidden_sizes", "[128,128]", "--model.scheduler", "null")
    collapsing = ("--model.loss.margin", "0.25", "--model.optimizer.lr", "0.004", "--callbacks.collapse_remedy", "auto")
    short = ("--trainer.max_epochs", "5", "--callbacks.patience", "1", "--trainer.default_root_dir", "runs")
    config = str(PROJECT / "configs" / "triplet.yaml")
    done = script("fit.py", "--config", config, *network, *collapsing, *short, "--callbacks.pictures", "false")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs/triplet/version_0/metrics.json").read_text())
    steps = [int(step) for step in re.findall(r"collapsed by step (\d+):", done.stdout)]
    assert record["collapsed_at_steps"] == steps
    assert steps[0] <= 50  # within an epoch, whose recall is 0; the weights of a remedy are new ones after it
    assert record["epochs"] > max(steps) / 50 + 1
    assert record["test/recall@1"] > 0.8


@pytest.mark.parametrize("seed", FIVE_SEEDS[:4])
@pytest.mark.parametrize("kind", ["batch_hard", "batch_hard_margin", "soft", "margin", "all", "contrastive", "logistic"])
def test_healthy_runs_are_left_alone(seed: int, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(seed)
    network, optimizer = MLP(SHAPE, (64, 64), 16), partial(torch.optim.Adam, lr=0.001)
    model: Family
    if kind == "contrastive":
        model = Siamese(network, ContrastiveLoss(margin=2.0), optimizer=optimizer)
    elif kind == "logistic":
        model = Siamese(network, head="logistic", optimizer=optimizer)
    else:
        settings: dict[str, dict[str, Any]] = {
            "batch_hard": {}, "batch_hard_margin": {"margin": 1.0}, "soft": {"mining": "all"},
            "margin": {"margin": 0.25, "mining": "semi_hard"}, "all": {"margin": 1.0, "mining": "all"},
        }  # fmt: skip
        model = _triplet(0.001, seed, **settings[kind])
    guard = CollapseGuard()
    scores = _train(model, guard, epochs=14)
    assert scores["val/auc"] > 0.7
    assert guard.collapsed_at == []
    assert "WARNING" not in capsys.readouterr().out


def test_what_is_watched_is_logged_as_scalars(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, "a", "b")
    _train(_triplet(0.001, margin=1.0), CollapseGuard(), epochs=2, logger=logger, log_every_n_steps=5)
    header = (tmp_path / "a" / "b" / "metrics.csv").read_text().splitlines()[0]
    assert all(f"collapse/{name}" in header for name in ("spread", "active_triplets", "loss_gap"))


def test_watching_changes_nothing() -> None:
    weights: list[Tensor] = []
    for callbacks in ([], [CollapseGuard()]):
        model = Siamese(MLP(SHAPE, (8,), 4), num_pairs=60)
        torch.manual_seed(0)
        model.encoder.layers[1].reset_parameters()  # type: ignore[union-attr, index]
        model.encoder.layers[-1].reset_parameters()  # type: ignore[union-attr, index]
        _train(model, CollapseGuard(), epochs=1, callbacks=callbacks)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*weights)


def test_a_classifier_is_not_watched_and_a_remedy_that_is_none_is_refused() -> None:
    guard = CollapseGuard()
    _train(Classifier(MLP(SHAPE, (8,), 4), 10), guard, epochs=1)
    assert guard._embeddings is None
    with pytest.raises(ValueError, match=r"callbacks\.collapse_remedy must be none or auto, not 'often'"):
        CollapseGuard("often")  # type: ignore[arg-type]
