import math
import random

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from lab.metrics.label_errors import (
    class_thresholds,
    confident_classes,
    detection_scores,
    estimated_num_wrong,
    label_losses,
    ranking,
    suspected,
)


def _judged(num: int, num_classes: int, seed: int, missing: int | None = None) -> tuple[Tensor, Tensor]:
    """Probabilities (num, num_classes), rounded so that some are equal, and labels (num,), none of them ``missing``."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(1, 5, (num, num_classes), generator=generator).double()
    labels = torch.randint(num_classes, (num,), generator=generator)
    if missing is not None:
        labels[labels == missing] = (missing + 1) % num_classes
    weights[torch.arange(0, num, 2), labels[::2]] += 3  # half of them are right, and sure of it
    return weights / weights.sum(1, keepdim=True), labels


def _by_hand(probabilities: list[list[float]], labels: list[int]) -> tuple[list[float], list[int], float]:
    """The thresholds, the class that each image is counted as and the estimated wrong labels, one image after the other."""
    num_classes = len(probabilities[0])
    thresholds = []
    for j in range(num_classes):
        own = [row[j] for row, label in zip(probabilities, labels, strict=True) if label == j]
        thresholds.append(math.fsum(own) / len(own) if own else math.inf)
    counted = []
    for row, label in zip(probabilities, labels, strict=True):
        best = -1
        for j in range(num_classes):
            if row[j] < thresholds[j] - 1e-12:
                continue
            if best < 0 or row[j] > row[best] or (row[j] == row[best] and j == label):
                best = j
        counted.append(best)
    num_wrong = 0.0
    for i in range(num_classes):
        row_of_joint = [best for best, label in zip(counted, labels, strict=True) if label == i and best >= 0]
        if row_of_joint:
            num_wrong += labels.count(i) * sum(best != i for best in row_of_joint) / len(row_of_joint)
    return thresholds, counted, num_wrong


@pytest.mark.parametrize("missing", [None, 2])
@pytest.mark.parametrize("seed", range(5))
def test_confident_learning_is_what_a_plain_loop_finds(seed: int, missing: int | None) -> None:
    probabilities, labels = _judged(200, 4, seed, missing)
    thresholds, counted, num_wrong = _by_hand(probabilities.tolist(), labels.tolist())
    assert class_thresholds(probabilities, labels).tolist() == pytest.approx(thresholds)
    assert confident_classes(probabilities, labels).tolist() == counted
    assert estimated_num_wrong(probabilities, labels) == round(num_wrong)
    assert 0 < num_wrong < 200 and -1 in counted
    rows = probabilities.tolist()
    doubted = [i for i, label in enumerate(labels.tolist()) if rows[i][label] < max(rows[i])]
    doubted.sort(key=lambda i: rows[i][int(labels[i])])
    flags, suggested = suspected(probabilities, labels)
    assert flags.nonzero().flatten().tolist() == sorted(doubted[: round(num_wrong)])
    assert all(suggested[i] == (rows[i].index(max(rows[i])) if i in doubted else labels[i]) for i in range(200))


def test_as_many_are_suspected_as_are_wrong_and_no_image_whose_label_is_most_probable() -> None:
    """Of ten images each, 4 of the first class and 2 of the second are of another, which the judge knows but for one."""
    labels = torch.arange(3).repeat_interleave(10)
    true = labels.clone()
    true[[0, 1, 2, 3]], true[[10, 11]] = 2, 0
    probabilities = torch.full((30, 3), 0.05, dtype=torch.float64)
    probabilities[torch.arange(30), true] = 0.9
    assert estimated_num_wrong(probabilities, labels) == 6
    assert torch.equal(suspected(probabilities, labels)[0], labels != true)
    probabilities[0] = torch.tensor([0.4, 0.35, 0.25])  # not sure enough to be counted, and most probably what it is labelled
    assert confident_classes(probabilities, labels)[0] == -1
    assert estimated_num_wrong(probabilities, labels) == 5  # 10 x 3 of 9, and 2
    flags, suggested = suspected(probabilities, labels)
    assert flags.nonzero().flatten().tolist() == [1, 2, 3, 10, 11]
    assert suggested[0] == 0


def test_other_orders_of_the_images_and_of_the_classes_suspect_the_same_images() -> None:
    probabilities = torch.rand(300, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probabilities /= probabilities.sum(1, keepdim=True)
    labels = torch.arange(300) % 5
    flags, suggested = suspected(probabilities, labels)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    moved = suspected(probabilities[order], labels[order])
    assert torch.equal(moved[0], flags[order]) and torch.equal(moved[1], suggested[order])
    names = torch.tensor([3, 0, 4, 1, 2])  # the new number of each class
    renamed = suspected(probabilities[:, names.argsort()], names[labels])
    assert torch.equal(renamed[0], flags) and torch.equal(renamed[1], names[suggested])


def test_a_tie_speaks_for_the_label_that_the_image_has() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    flags, suggested = suspected(probabilities, torch.tensor([0, 1, 1]))
    assert not flags.any()
    assert suggested.tolist() == [0, 1, 1]


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.7])
def test_images_that_are_all_as_probable_as_their_mean_are_confident(probability: float) -> None:
    rest = (1 - probability) / 2
    probabilities = torch.tensor([[probability, rest, rest]] * 7, dtype=torch.float64)
    assert (confident_classes(probabilities, torch.zeros(7, dtype=torch.int64)) == 0).all()


def test_no_image_is_counted_as_a_class_that_no_image_is_labelled_as() -> None:
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    assert class_thresholds(probabilities, labels)[2] == torch.inf
    assert 2 not in confident_classes(probabilities, labels)
    assert estimated_num_wrong(probabilities, labels) == 0
    assert not suspected(probabilities, labels)[0].any()


def test_an_image_is_suspected_whose_label_is_less_probable_than_usual_and_another_class_more() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]], dtype=torch.float64)
    flags, suggested = suspected(probabilities, torch.tensor([0, 0, 0, 1]))
    assert flags.tolist() == [False] * 4  # 0.8 is below 0.9, the mean of its class
    probabilities[2] = torch.tensor([0.05, 0.95])
    flags, suggested = suspected(probabilities, torch.tensor([0, 0, 0, 1]))
    assert flags.tolist() == [False, False, True, False] and suggested[2] == 1


def test_losses_are_ranked_from_the_highest_and_equal_ones_by_their_place() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    losses = label_losses(probabilities, torch.tensor([0, 1, 1, 1]))
    assert losses[:3].tolist() == pytest.approx([math.log(2), math.log(10), math.log(2)])
    assert losses.isfinite().all() and losses[3] > 700
    assert ranking(losses).tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize("seed", range(3))
def test_areas_under_the_curves_are_those_of_scikit_learn_and_rates_those_of_a_count(seed: int) -> None:
    draw = random.Random(seed)
    losses = [draw.randrange(8) / 4 for _ in range(90)]  # with many ties
    wrong = [draw.random() < 0.2 + 0.3 * loss for loss in losses]
    chosen = [loss > 1.2 for loss in losses]
    scores = detection_scores(torch.tensor(chosen), torch.tensor(losses), torch.tensor(wrong))
    both = sum(one and other for one, other in zip(chosen, wrong, strict=True))
    assert scores == pytest.approx(
        {
            "wrong_share": sum(wrong) / 90,
            "precision": both / sum(chosen),
            "recall": both / sum(wrong),
            "auc": roc_auc_score(wrong, losses),
            "average_precision": average_precision_score(wrong, losses),
        }
    )


def test_where_nothing_is_wrong_or_chosen_scores_are_not_defined_rather_than_an_error() -> None:
    nothing = torch.zeros(5, dtype=torch.bool)
    scores = detection_scores(nothing, torch.arange(5.0), nothing)
    assert scores.pop("wrong_share") == 0
    assert all(math.isnan(score) for score in scores.values())
