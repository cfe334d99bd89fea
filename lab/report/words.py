"""What a reader is told about scores and pictures."""

import re
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a score is, in one line, and which way is better: ``higher``, ``lower``, or neither where runs differ in kind."""

    words: str
    better: str = "higher"


MEANINGS: tuple[tuple[str, Meaning], ...] = (
    (r"loss", Meaning("what training makes small; to be compared only between runs of one and the same loss", "")),
    (r"accuracy", Meaning("share of images that the classifier gets right")),
    (r"balanced_accuracy", Meaning("mean over the classes of the share of their images that the classifier gets right")),
    (r"nearest_neighbor_accuracy", Meaning("share of images whose nearest training image has their class")),
    (r"recall@1", Meaning("search: share of images whose nearest other image has their class")),
    (r"recall@(\d+)", Meaning("search: share of images of which one of the nearest {0} other images has their class")),
    (r"map@r", Meaning("search: mean average precision at R (Musgrave et al., 2020)")),
    (r"r_precision", Meaning("search: share of right ones among the R nearest, R being how many there are of the class")),
    (r"auc", Meaning("verification of balanced pairs: area under the ROC curve; 0.5 is chance")),
    (
        r"eer",
        Meaning("verification of balanced pairs: error rate where both kinds of errors are as frequent", "lower"),
    ),
    (r"pair_accuracy", Meaning("verification: share of balanced pairs told right by the stored threshold")),
    (r"pair_f1", Meaning("verification: F1 of calling pairs the same by the stored threshold")),
    (r"fmr", Meaning("false match rate: share of different pairs called the same by the stored threshold", "lower")),
    (r"fnmr", Meaning("false non-match rate: share of same pairs called different by the stored threshold", "lower")),
    (r"fnmr@fmr([\d.e-]+)", Meaning("false non-match rate where at most {0} of different pairs are matched", "lower")),
    (
        r"one_shot_accuracy",
        Meaning("share of images told right by an example (or num_shots) of each of 20 classes (or num_ways, or all)"),
    ),
    (r"one_shot_within_(\w+)", Meaning("one-shot accuracy where all classes of a task are of one {0}")),
    (r"one_shot_trials", Meaning("one-shot accuracy in the fixed trials of the data set")),
)
# Of those that there are, the first few stand large at the top.
HEADLINES = ("accuracy", "balanced_accuracy", "nearest_neighbor_accuracy", "recall@1", "pair_accuracy", "auc", "eer", "map@r")
NUM_HEADLINES = 4


def meaning(name: str) -> Meaning:
    """Return what a score such as ``test/auc`` means."""
    for pattern, found in MEANINGS:
        match = re.fullmatch(pattern, name.rpartition("/")[2])
        if match:
            return Meaning(found.words.format(*match.groups()), found.better)
    return Meaning("", "")


class Section(NamedTuple):
    """A part of the page: its title, and what is said where it has no pictures."""

    title: str
    missing: str


class Caption(NamedTuple):
    """What stands below a picture and, where it cannot be seen, in its place."""

    section: str
    title: str
    words: str


SECTIONS: dict[str, Section] = {
    "training": Section("Learning curves", "No scores were logged by epoch, so there are no curves."),
    "inside": Section("What the network sees, and what it is", ""),
    "found": Section("What the test found", "The test left no pictures."),
    "mistakes": Section("The hardest mistakes", "There are no pictures of mistakes."),
    "others": Section("Other pictures", ""),
}
CAPTIONS: dict[str, Caption] = {
    "learning_curves": Caption("training", "Learning curves", "Scores of training and validation images by epoch; a dotted "
                               "line marks the epoch that was chosen, by validation images."),
    "sample_batch": Caption("inside", "A training batch", "Training images with their classes, as the network sees them: "
                            "augmented and normalised."),
    "network": Caption("inside", "The network", "The layers that an image passes, what comes out of each, and how many "
                       "parameters it has."),
    "first_layer": Caption("inside", "First layer", "The weights of the first layer as pictures, where they look at pixels."),
    "confusion": Caption("found", "Confusion", "What images of each class (rows) are taken for (columns); what is off the "
                         "diagonal is wrong."),
    "roc_and_det": Caption("found", "ROC and DET", "How often pairs of one class are missed against how often pairs of two are "
                           "matched, at every threshold; the stored threshold is marked."),
    "distances": Caption("found", "Distances", "How far pairs of one class and of two are apart; the line is the stored "
                         "threshold, up to which a pair is called the same."),
    "probabilities": Caption("found", "Probabilities", "How often pairs are of one class that are said to be so with some "
                             "probability; on the diagonal the probability is right."),
    "embeddings": Caption("found", "Embeddings", "Training and test images as points, by PCA and t-SNE, coloured by class; in "
                          "t-SNE only neighbourhoods mean something."),
    "worst_predictions": Caption("mistakes", "Told wrong most surely", "Test images with their class, what they were taken "
                                 "for, and how probable that was said to be."),
    "hardest_pairs": Caption("mistakes", "Hardest pairs", "The farthest test pairs of one class and the nearest of two, with "
                             "their distances and what they were called."),
    "parallel_coordinates": Caption("others", "Trials of the search", "One line a trial, through its settings to its score."),
    "importance": Caption("others", "Importance of settings", "How much of what the scores differ each setting explains."),
    "worst_queries": Caption("mistakes", "Worst searches", "Test images whose nearest other test image is wrong, the worst "
                             "first, each with its nearest."),
}  # fmt: skip


def caption(name: str) -> Caption:
    """Return what is said of the picture of a name, of one's own too."""
    title = name.replace("_", " ").strip() or "picture"
    return CAPTIONS.get(name, Caption("others", title[:1].upper() + title[1:], "A picture that the run left beside the usual."))
