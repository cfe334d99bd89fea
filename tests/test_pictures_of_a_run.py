import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import PROJECT
from matplotlib.text import Text
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from lab.callbacks import drawn
from lab.callbacks.hardest import hardest_pairs, worst_predictions, worst_queries
from lab.callbacks.pictures import Pictures
from lab.callbacks.traced import first_weights, layers_of, outputs_before
from lab.cli import LabCLI
from lab.data import Synthetic
from lab.metrics import Results
from lab.models import Classifier, Siamese, SplitImage, Triplet
from lab.nets import MLP, ConvNet

SMALL = (
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "2", "--data.num_images_per_class", "40"),
    *("--model.encoder.width", "4", "--trainer.default_root_dir", "runs"),
)
IMAGES = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A run each of a family that embeds and of one that classifies, by the command line."""
    folder = tmp_path_factory.mktemp("runs")
    from lab.commands import fit

    found = {}
    with pytest.MonkeyPatch.context() as context:
        context.chdir(folder)
        context.setattr(drawn, "NUM_EMBEDDED", 60)
        for name in ("siamese", "split_image"):
            context.setattr("sys.argv", ["fit.py", "--config", str(PROJECT / "configs" / f"{name}.yaml"), *SMALL])
            fit()
            found[name] = folder / "runs" / name / "version_0"
    yield found


COMMON = {"sample_batch", "network", "learning_curves", "first_layer", "embeddings"}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("siamese", {"roc_and_det", "distances", "probabilities", "hardest_pairs", "worst_queries"}),
        ("split_image", {"confusion", "worst_predictions"}),
    ],
)
def test_a_run_leaves_its_pictures_as_files_and_in_tensorboard(runs: dict[str, Path], name: str, own: set[str]) -> None:
    files = list((runs[name] / "pictures").iterdir())
    assert {file.stem for file in files} == COMMON | own
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture.convert("L")).std() > 3  # something is drawn
    board = EventAccumulator(str(runs[name]), size_guidance={"images": 0}).Reload()
    assert {tag.removeprefix("pictures/") for tag in board.Tags()["images"] if tag.startswith("pictures/")} == COMMON | own


def test_tensorboard_has_the_configuration_the_graph_the_embedding_and_the_settings_with_the_scores(
    runs: dict[str, Path],
) -> None:
    run = runs["siamese"]
    board = EventAccumulator(str(run)).Reload()
    assert board.Tags()["graph"]
    (text,) = board.Tensors("config/text_summary")
    assert "class_path: lab.models.Siamese" in text.tensor_proto.string_val[0].decode()
    scores = json.loads((run / "metrics.json").read_text())
    assert board.Scalars("test/auc")[-1].value == pytest.approx(scores["test/auc"])
    projector = (run / "projector_config.pbtxt").read_text()
    assert "test_images" in projector
    (vectors,) = run.glob("*/test_images/tensors.tsv")
    with (vectors.parent / "metadata.tsv").open() as file:
        names = [row[0] for row in csv.reader(file, delimiter="\t")]
    assert len(vectors.read_text().splitlines()) == len(names) == 500
    assert set(names) == set("0123456789")
    settings = board.PluginTagToContent("hparams")
    assert any(b"trainer.max_epochs" in content for content in settings.values())


def test_a_learning_curve_holds_the_scores_that_the_table_of_the_run_holds(runs: dict[str, Path]) -> None:
    captured: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as context:
        context.setattr(drawn, "curves_figure", lambda history, best: captured.update(history=history, best=best))
        data = Synthetic(num_train_images=200, num_test_images=20, batch_size=20)
        callback = Pictures(runs["siamese"].parent / "other")
        logger = pl.loggers.CSVLogger(runs["siamese"].parent, "csv", "a")
        model = Classifier(MLP(hidden_sizes=(4,)), 10)
        off: dict[str, Any] = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = pl.Trainer(
            max_epochs=3, accelerator="cpu", callbacks=[callback], logger=logger, check_val_every_n_epoch=2, **off
        )
        trainer.fit(model, data)
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss"]) for row in rows if row.get("train/loss")]
    validated = [float(row["val/accuracy"]) for row in rows if row.get("val/accuracy")]
    assert captured["history"]["train/loss"] == ([1, 2, 3], pytest.approx(losses))
    assert captured["history"]["val/accuracy"] == ([2], pytest.approx(validated))
    assert captured["best"] is None  # without checkpoints no epoch is chosen


def test_a_picture_that_cannot_be_drawn_costs_the_run_nothing_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(drawn, "network_figure", fail)
    data = Synthetic(num_train_images=100, num_test_images=20, batch_size=20)
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[Pictures(tmp_path)], **off)
    trainer.fit(Classifier(MLP(hidden_sizes=(4,)), 10), data)
    assert "the picture network could not be drawn: RuntimeError: no ink" in caplog.text
    assert {path.stem for path in tmp_path.iterdir()} == {"sample_batch", "learning_curves"}


@pytest.mark.slow
def test_drawing_leaves_the_run_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "NUM_EMBEDDED", 30)

    def end(callbacks: list[pl.Callback]) -> tuple[Tensor, dict[str, Tensor]]:
        pl.seed_everything(0)
        data = Synthetic(num_train_images=200, num_test_images=60, batch_size=20)
        model = Triplet(nn.Sequential(ConvNet(width=2, embedding_size=4), nn.Dropout(0.5)))
        off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **off)
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)
        return torch.cat([p.detach().flatten() for p in model.parameters()]), trainer.callback_metrics

    (with_pictures, scores), (without, same_scores) = end([Pictures(tmp_path)]), end([])
    assert torch.equal(with_pictures, without)
    assert scores == same_scores
    assert (tmp_path / "worst_queries.png").is_file()


def test_the_layers_are_those_that_images_pass_with_their_shapes_and_parameters() -> None:
    model = SplitImage(ConvNet((1, 14, 28), width=4, embedding_size=8), 10, rows=2)
    layers = layers_of(model, IMAGES)
    assert sum(layer.num_parameters for layer in layers) == sum(p.numel() for p in model.parameters())
    assert (layers[0].kind, layers[0].output_shape, layers[0].branches) == ("Conv2d 3x3", (4, 14, 28), 2)
    assert (layers[-1].name, layers[-1].kind, layers[-1].output_shape, layers[-1].branches) == ("head", "Linear", (10,), 1)
    assert [layer.branches for layer in layers_of(Triplet(MLP()), IMAGES)] == [3] * len(layers_of(Triplet(MLP()), IMAGES))
    assert Siamese(MLP(), other_encoder=MLP()).num_branches == 1


def test_tracing_changes_neither_modes_nor_statistics_nor_random_numbers() -> None:
    model = Classifier(ConvNet(width=4, embedding_size=8), 10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    layers_of(model, IMAGES)
    first_weights(model, IMAGES)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_first_weights_are_filters_or_pictures_of_what_a_dense_layer_looks_at() -> None:
    conv = Classifier(ConvNet(width=4), 10)
    weights = first_weights(conv, IMAGES)
    assert weights is not None
    assert weights.shape == (4, 1, 3, 3)
    halves = SplitImage(MLP((1, 14, 28), hidden_sizes=(), embedding_size=10, bias=False), 10, head="bias")
    pictures = first_weights(halves, IMAGES)
    assert pictures is not None
    assert pictures.shape == (10, 1, 14, 28)
    assert torch.equal(pictures.flatten(1), halves.state_dict()["encoder.layers.1.weight"])


def test_the_features_of_a_classifier_are_what_goes_into_its_head() -> None:
    model = Classifier(MLP(hidden_sizes=(5,), embedding_size=7), 3).eval()
    assert torch.equal(outputs_before(model, "head", IMAGES), model.encoder(IMAGES).detach())


def test_the_hardest_pairs_are_the_farthest_of_one_class_then_the_nearest_of_two() -> None:
    distances = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.8, 0.3])
    same = torch.tensor([True, True, True, False, False, False])
    assert hardest_pairs(distances, same, 2).tolist() == [1, 2, 3, 5]
    assert hardest_pairs(distances, same, 10).tolist() == [1, 2, 0, 3, 5, 4]


def test_the_worst_queries_are_those_of_a_loop_and_only_ones_that_are_wrong() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 5, (60,), generator=generator)
    embeddings = 2 * torch.nn.functional.one_hot(labels).float() + torch.randn(60, 5, generator=generator)
    severity = {}
    for i in range(60):
        apart = [(float((embeddings[i] - embeddings[j]).norm()), j) for j in range(60) if j != i]
        own = min(far for far, j in apart if labels[j] == labels[i])
        other = min(far for far, j in apart if labels[j] != labels[i])
        if own >= other:
            severity[i] = own - other
    queries, nearest, distances = worst_queries(embeddings, labels, 4, 3)
    assert queries.tolist() == sorted(severity, key=lambda i: -severity[i])[:4]
    for query, row, far in zip(queries.tolist(), nearest.tolist(), distances.tolist(), strict=True):
        expected = sorted((float((embeddings[query] - embeddings[j]).norm()), j) for j in range(60) if j != query)[:3]
        assert row == [j for _, j in expected]
        assert far == pytest.approx([d for d, _ in expected], rel=1e-4)
    everything_right = worst_queries(torch.eye(5)[labels], labels, 4, 3)
    assert len(everything_right[0]) == 0


def test_the_worst_predictions_are_the_surest_that_are_wrong() -> None:
    logits = torch.tensor([[4.0, 0, 0], [0, 3.0, 0], [0, 0, 2.0], [5.0, 0, 0]])
    positions, predicted, probability = worst_predictions(logits, torch.tensor([1, 1, 0, 0]), 5)
    assert positions.tolist() == [0, 2]
    assert predicted.tolist() == [0, 2]
    assert probability.tolist() == pytest.approx([logits[i].softmax(0).max().item() for i in (0, 2)])


def test_confusions_are_counted_for_test_and_training_images() -> None:
    results = Results(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, 2]), torch.tensor([0.0, 2.0]), torch.tensor([0, 1]))
    counts = drawn._counts(results)
    assert counts["test"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert counts["train"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_pictures_of_a_pair_are_those_of_the_images_that_were_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Synthetic(num_train_images=100, num_test_images=40, batch_size=7)
    model = Siamese(MLP(hidden_sizes=(4,)))
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    pl.Trainer(accelerator="cpu", **off).test(model, data, verbose=False)
    results: Any = model.metrics.results
    assert results is not None
    images, labels = data.evaluated("test")[:]
    assert torch.equal(labels, results.labels)
    prepared, _ = data.on_after_batch_transfer((images, labels), 0)
    torch.testing.assert_close(model.eval()(prepared).detach(), results.outputs)
    pairs = results.pairs
    apart = (results.outputs[pairs["first"]] - results.outputs[pairs["second"]]).norm(dim=1)
    torch.testing.assert_close(apart, pairs["distances"])
    assert torch.equal(labels[pairs["first"]] == labels[pairs["second"]], pairs["same"])


def test_pictures_and_the_board_are_switched_off_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = ["--callbacks.pictures", "false", "--callbacks.board", "false", "--trainer.default_root_dir", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["fit.py", "--config", str(PROJECT / "configs" / "classifier.yaml"), *arguments])
    names = {type(callback).__name__ for callback in LabCLI().trainer.callbacks}  # type: ignore[attr-defined]
    assert not {"Pictures", "Board"} & names


def test_embeddings_are_drawn_of_as_many_images_of_each_class_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Synthetic(num_train_images=600, num_test_images=300, batch_size=20, validation_size=60)
    data.prepare_data()
    data.setup()
    drawn_of: dict[str, Any] = {}

    def note(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, names: list[str], chosen: Any) -> None:
        drawn_of.update(train=train_labels, test=test_labels, names=names, chosen=chosen, outputs=train)

    monkeypatch.setattr("lab.plots.pca_and_tsne", note)
    monkeypatch.setattr(drawn, "NUM_EMBEDDED", 50)
    model = Triplet(MLP(data.image_shape, (8,), 4)).eval()
    drawn.embeddings_figure(model, data, None)
    assert drawn_of["chosen"] == list(range(10))
    for side in ("train", "test"):
        assert torch.bincount(drawn_of[side]).tolist() == [5] * 10
    drawn.embeddings_figure(model, data, [data.class_names[7], data.class_names[2]])
    assert drawn_of["chosen"] == [7, 2]
    assert torch.bincount(drawn_of["test"])[[7, 2]].tolist() == [25, 25]
    assert len(drawn_of["outputs"]) == len(drawn_of["train"]) == 50


@pytest.mark.parametrize(
    ("noise", "of_batch", "of_confusions"), [(0.0, "", ""), (0.3, "30 % of the labels redrawn", "by true labels")]
)
def test_pictures_of_redrawn_labels_say_whose_labels_they_show(noise: float, of_batch: str, of_confusions: str) -> None:
    labels = torch.tensor([0, 1, 1, 0, 2, 2])
    results = Results(nn.functional.one_hot(labels).float(), labels)
    for figure, said in (
        (drawn.batch_figure(IMAGES, labels, ["a", "b", "c"], noise), of_batch),
        (drawn.confusion_figure(results, ["a", "b", "c"], noise), of_confusions),
    ):
        words = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
        assert said in words
        assert ("label" in words) == (noise > 0)
