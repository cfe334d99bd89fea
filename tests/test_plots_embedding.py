import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from sklearn.decomposition import PCA
from torch import Tensor

from lab import plots

pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
NAMES = [f"digit {i}" for i in range(20)]


def _clusters(seed: int, size: int, num_classes: int = 3, dimensions: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % num_classes
    centers = 5 * torch.randn(num_classes, dimensions, generator=torch.Generator().manual_seed(99))
    return centers[labels] + torch.randn(size, dimensions, generator=generator), labels


def _points(axes: Axes) -> list[np.ndarray]:
    """Return the points (n, 2) of each class."""
    groups = [collection for collection in axes.collections if isinstance(collection, PathCollection)]
    return [np.asarray(group.get_offsets()) for group in groups]


def _said(axes: Axes) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in axes.texts)


def test_pca_is_that_of_scikit_learn_fitted_on_training_images_and_applied_to_test_images() -> None:
    (train, train_labels), (test, test_labels) = _clusters(0, 30), _clusters(1, 12)
    left, right, _, _ = plots.pca_and_tsne(train, train_labels, test, test_labels, NAMES).axes
    reference = PCA(2).fit(train.numpy())
    for axes, embeddings, labels in ((left, train, train_labels), (right, test, test_labels)):
        for label, points in zip(range(3), _points(axes), strict=False):
            expected = reference.transform(embeddings[labels == label].numpy())
            np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-4)
    share = f"{100 * reference.explained_variance_ratio_[0]:.1f} % of the variance"
    assert left.get_xlabel() == f"principal component 1: {share}"
    assert left.get_title() == "PCA: 30 training images"
    assert right.get_title() == "PCA: 12 test images"


def test_both_splits_have_the_same_limits_and_each_class_one_marker_and_colour() -> None:
    figure = plots.pca_and_tsne(*_clusters(0, 30), *_clusters(1, 12), NAMES)
    for left, right in (figure.axes[:2], figure.axes[2:]):
        assert left.get_xlim() == right.get_xlim()
        assert left.get_ylim() == right.get_ylim()
        for one, other in zip(left.collections[:3], right.collections, strict=True):
            assert one.get_facecolor().tolist() == other.get_facecolor().tolist()  # type: ignore[union-attr]
            assert np.array_equal(one.get_paths()[0].vertices, other.get_paths()[0].vertices)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == NAMES[:3]


def test_tsne_places_every_image_of_both_splits_and_keeps_clusters_together() -> None:
    figure = plots.pca_and_tsne(*_clusters(0, 45), *_clusters(1, 15), NAMES)
    left, right = figure.axes[2:]
    assert [len(points) for points in _points(left)] == [15] * 3
    assert [len(points) for points in _points(right)] == [5] * 3
    centers = np.stack([points.mean(0) for points in _points(left)])
    for label, points in enumerate(_points(right)):
        distances = np.linalg.norm(points[:, None] - centers, axis=2)
        assert (distances.argmin(1) == label).all()
    assert figure.get_suptitle().replace("\n", " ").endswith("t-SNE is fitted on both at once")


def test_at_most_a_thousand_images_a_split_are_drawn_evenly_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.plots.embedding._tsne", lambda train, test: ((train[:, :2], test[:, :2]), ""))  # takes seconds
    labels = torch.cat([torch.zeros(3000), torch.ones(100), torch.full((2000,), 2)]).long()
    embeddings = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    left = plots.pca_and_tsne(embeddings, labels, embeddings[:5], labels[:5], NAMES, [0, 1, 2]).axes[0]
    assert [len(points) for points in _points(left)][:3] == [450, 100, 450]
    assert left.get_title() == "PCA: 1,000 training images"


@pytest.mark.parametrize(
    ("train", "test", "classes", "expected"),
    [
        (range(20), range(20), None, range(10)),
        (range(20), range(5, 20), None, range(5, 15)),
        (range(8), range(10, 18), None, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]),
        (range(20), range(20), [7, 3], [7, 3]),
        (range(20), range(20), list(range(19, 0, -1)), range(19, 9, -1)),
        (range(3), [], None, range(3)),
    ],
)
def test_the_chosen_classes_are_drawn_or_the_first_ten_of_both_splits_or_five_of_each(
    train: list[int], test: list[int], classes: list[int] | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.plots.embedding._tsne", lambda train, test: ((train[:, :2], test[:, :2]), ""))
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.rand(len(labels), 3, generator=generator) for labels in (train, test))
    figure = plots.pca_and_tsne(left, torch.tensor(list(train)), right, torch.tensor(list(test)), NAMES, classes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [NAMES[i] for i in expected]


def test_a_collapsed_embedding_is_said_to_be_one_point() -> None:
    for value in (0.0, 3.7):
        same = torch.full((20, 4), value) * (1 + 1e-7 * torch.rand(20, 4, generator=torch.Generator().manual_seed(0)))
        figure = plots.pca_and_tsne(same, torch.arange(20) % 2, same[:8], torch.arange(8) % 2, NAMES)
        assert all("collapsed to one point" in _said(axes) for axes in figure.axes)


def test_an_embedding_of_which_only_the_test_images_collapsed_is_drawn() -> None:
    train, labels = _clusters(0, 30)
    figure = plots.pca_and_tsne(train, labels, train[:1].expand(6, -1), labels[:6], NAMES)
    assert [_said(axes) for axes in figure.axes] == [""] * 4
    assert np.ptp(np.concatenate(_points(figure.axes[1])), axis=0) == pytest.approx(0, abs=1e-5)


def test_an_embedding_of_one_number_is_drawn_as_a_line() -> None:
    train, labels = _clusters(0, 12, dimensions=1)
    figure = plots.pca_and_tsne(train, labels, train, labels, NAMES)
    points = np.concatenate(_points(figure.axes[0])[:3])
    assert np.ptp(points[:, 0]) > 1
    assert (points[:, 1] == 0).all()
    assert figure.axes[0].get_ylabel() == "principal component 2: there is none"
    assert sum(len(points) for points in _points(figure.axes[2])) == 12


@pytest.mark.parametrize(("num_train", "num_test"), [(0, 0), (1, 0), (0, 3), (2, 2), (3, 3), (6, 0), (0, 6)])
def test_few_images_or_none_are_drawn_as_far_as_they_go_and_the_rest_is_said(num_train: int, num_test: int) -> None:
    (train, train_labels), (test, test_labels) = _clusters(0, max(1, num_train)), _clusters(1, max(1, num_test))
    arguments = train[:num_train], train_labels[:num_train], test[:num_test], test_labels[:num_test]
    pca, _, tsne, _ = plots.pca_and_tsne(*arguments, NAMES).axes
    assert ("fewer than two training images" in _said(pca)) == (num_train < 2)
    assert ("fewer than 5 images" in _said(tsne)) == (num_train + num_test < 5)


def test_an_empty_split_may_have_no_shape() -> None:
    train, labels = _clusters(0, 8)
    figure = plots.pca_and_tsne(train, labels, [], [], NAMES)
    assert figure.axes[1].get_title() == "PCA: 0 test images"
    assert _said(figure.axes[1]) == "no images"


def test_embeddings_that_are_not_finite_are_left_out_and_counted() -> None:
    train, labels = _clusters(0, 12)
    train[3, 1] = torch.nan
    train[5, 0] = torch.inf
    left = plots.pca_and_tsne(train, labels, train[:3], labels[:3], NAMES).axes[0]
    assert sum(len(points) for points in _points(left)) == 10
    assert left.get_xlabel().endswith("2 images without a finite embedding left out")


def test_huge_and_tiny_embeddings_are_drawn() -> None:
    train, labels = _clusters(0, 12)
    for scale in (1e-20, 1e18):
        figure = plots.pca_and_tsne(scale * train, labels, scale * train, labels, NAMES)
        assert [_said(axes) for axes in figure.axes] == [""] * 4
