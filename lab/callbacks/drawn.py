"""The figures of a run, from a model, its data and what a test found."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from matplotlib.figure import Figure
from torch import Tensor

from lab import plots
from lab.callbacks.hardest import hardest_pairs, worst_predictions, worst_queries
from lab.callbacks.traced import first_weights, layers_of, outputs_before
from lab.metrics import ClassificationMetrics, EmbeddingMetrics, Results
from lab.metrics.verification import area_under_roc, equal_error_rate, error_rates

UNITS = {"euclidean": "Euclidean distance", "cosine": "cosine distance", None: "distance"}
NUM_EMBEDDED = 500  # images a side whose embeddings are drawn: t-SNE takes seconds for each thousand
NUM_CLASSES = 10  # of which they are


def batch_figure(images: Tensor, labels: Tensor, class_names: list[str], label_noise: float = 0.0) -> Figure:
    """Draw a batch as the network sees it; of redrawn labels it is said that they are."""
    noted = f", with {100 * label_noise:g} % of the labels redrawn" if label_noise else ""
    return plots.sample_batch(images, labels, class_names, f"A batch as the network gets it{noted}")


def curves_figure(history: plots.History, best_epoch: int | None) -> Figure:
    """Draw the scores by epoch."""
    return plots.learning_curves(history, best_epoch)


def network_figure(model: LightningModule, images: Tensor) -> Figure:
    """Draw the layers that images pass."""
    layers = layers_of(model, images)
    return plots.network_diagram(layers, type(model).__name__)


def weights_figure(model: LightningModule, images: Tensor) -> Figure:
    """Draw the weights of the first layer, where they look at pixels."""
    weights = first_weights(model, images[:2])
    encoder = type(model.encoder).__name__
    return plots.weight_grid(torch.empty(0, 1, 1, 1) if weights is None else weights, f"First layer of {encoder}")


def confusion_figure(results: Results, class_names: list[str], label_noise: float = 0.0) -> Figure:
    """Draw what training and test images of each class are taken for; classes are the true ones, whatever was redrawn."""
    noted = ", by true labels, not redrawn ones" if label_noise else ""
    return plots.confusion_matrices(
        _counts(results), class_names, f"Confusions: what images of each class are taken for{noted}"
    )


def _counts(results: Results) -> dict[str, Tensor]:
    """Count, for the training and the test images, what those of each class are taken for."""
    num_classes = results.outputs.shape[1]
    predicted = {"test": (results.outputs.argmax(1), results.labels)}
    if results.gallery is not None and results.gallery_labels is not None:
        predicted = {"train": (results.gallery.long(), results.gallery_labels), **predicted}
    return {
        name: torch.bincount(labels * num_classes + guesses, minlength=num_classes**2).view(num_classes, num_classes)
        for name, (guesses, labels) in predicted.items()
    }


def predictions_figure(results: Results, data: Any) -> Figure:
    """Draw the test images that are told wrong most surely."""
    positions, predicted, probability = worst_predictions(results.outputs.cpu(), results.labels.cpu(), 24)
    images, labels = data.evaluated("test")[positions]
    names = data.class_names
    captions = [
        f"{names[label]} as {names[guess]} {chance:.2f}"
        for label, guess, chance in zip(labels.tolist(), predicted.tolist(), probability.tolist(), strict=True)
    ]
    title = "Test images told wrong most surely: their class, what they were taken for, and how probable that was"
    return plots.sample_batch(images, torch.arange(len(captions)), captions, title)


def roc_figure(results: Results, metrics: EmbeddingMetrics) -> Figure:
    """Draw the error rates on the test pairs, with the stored threshold marked."""
    rates = error_rates(results.pairs["distances"].cpu(), results.pairs["same"].cpu())
    match, non_match = (rate.item() for rate in rates.at(metrics.threshold.cpu()))
    point = (match, non_match) if metrics.threshold.isfinite() else None
    scores = area_under_roc(rates).item(), equal_error_rate(rates).item()
    return plots.roc_and_det(rates.false_match_rate, rates.false_non_match_rate, point, *scores)


def distances_figure(results: Results, metrics: EmbeddingMetrics) -> Figure:
    """Draw how far test pairs are apart."""
    pairs = results.pairs
    return plots.distance_histograms(pairs["distances"], pairs["same"], metrics.threshold.item(), UNITS[metrics.search])


def reliability_figure(results: Results, metrics: EmbeddingMetrics) -> Figure:
    """Draw how often pairs are of one class that are said to be so with some probability."""
    return plots.reliability(metrics.probability(results.pairs["distances"]), results.pairs["same"])


def pairs_figure(results: Results, metrics: EmbeddingMetrics, data: Any) -> Figure:
    """Draw the farthest test pairs of one class, and the nearest of two."""
    first, second, same, distances = (results.pairs[name].cpu() for name in ("first", "second", "same", "distances"))
    chosen = hardest_pairs(distances, same, 12)
    tests = data.evaluated("test")
    (first_images, first_labels), (second_images, second_labels) = tests[first[chosen]], tests[second[chosen]]
    called = ["same" if distance <= metrics.threshold.item() else "different" for distance in distances[chosen]]
    names = tests.class_names
    captions = [
        f"{names[one]} | {names[other]}, {distance:.2f}, called {verdict}"
        for one, other, distance, verdict in zip(
            first_labels.tolist(), second_labels.tolist(), distances[chosen].tolist(), called, strict=True
        )
    ]
    return plots.pair_grid(first_images, second_images, captions, "The farthest pairs of one class and the nearest of two")


def queries_figure(results: Results, metrics: EmbeddingMetrics, data: Any) -> Figure:
    """Draw the test images whose nearest other one is wrong."""
    embeddings = metrics.to_search(results.outputs).cpu()
    queries, nearest, distances = worst_queries(embeddings, results.labels.cpu(), 8, 5)
    tests = data.evaluated("test")
    names = tests.class_names
    neighbors = torch.stack([tests[row][0] for row in nearest]) if len(nearest) else tests[:0][0].unsqueeze(1)
    captions = [
        [f"{names[int(tests.labels[place])]}, {distance:.2f}" for place, distance in zip(row, far, strict=True)]
        for row, far in zip(nearest.tolist(), distances.tolist(), strict=True)
    ]
    right = tests.labels[nearest] == tests.labels[queries].unsqueeze(1)
    query_names = [names[int(label)] for label in tests.labels[queries]]
    title = "Test images whose nearest other test image is wrong, worst first"
    summary = f"these {len(queries)} of {len(tests):,}" if len(queries) else None
    return plots.query_rows(tests[queries][0], neighbors, query_names, captions, right, title, summary)


def embeddings_figure(model: LightningModule, data: Any, classes: list[str] | None) -> Figure:
    """Embed some images of both splits; of a classifier, what goes into its last layer.

    Args:
        model: what embeds.
        data: what is embedded.
        classes: names of those whose images are; None for the first ten, or, where test classes are others than those of
            training, the first five of each.
    """
    splits = [data.evaluated(part) for part in ("train", "test")]
    names = list(data.class_names)
    offsets = [0, 0]
    if splits[1].class_names != names:  # classes that were never trained on
        offsets[1] = len(names)
        names += splits[1].class_names
    every = [split.labels + offset for split, offset in zip(splits, offsets, strict=True)]
    first = [labels.unique()[: NUM_CLASSES // 2 if offsets[1] else NUM_CLASSES].tolist() for labels in every]
    chosen = sorted({*first[0], *first[1]}) if classes is None else [names.index(name) for name in classes if name in names]
    sides: list[Tensor] = []
    for split, labels in zip(splits, every, strict=True):
        positions = _some_of_each(labels, chosen)
        prepared, _ = data.on_after_batch_transfer((split[positions][0].to(model.device), labels[positions]), 0)
        if isinstance(model.metrics, ClassificationMetrics):
            outputs = outputs_before(model, "head", prepared)
        else:
            with torch.no_grad():
                outputs = model(prepared).float().cpu()
        sides += [outputs, labels[positions]]
    train, train_labels, test, test_labels = sides
    return plots.pca_and_tsne(train, train_labels, test, test_labels, names, chosen)


def _some_of_each(labels: Tensor, chosen: list[int]) -> Tensor:
    """Return the positions of images of the chosen labels, as many of each."""
    num = max(1, NUM_EMBEDDED // max(1, len(chosen)))
    return torch.cat([torch.zeros(0, dtype=torch.long), *((labels == label).nonzero().squeeze(1)[:num] for label in chosen)])
