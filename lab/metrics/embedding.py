"""The scores of an embedding on one split, as one torchmetrics metric."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab.metrics.bootstrap import intervals, mean_intervals, task_intervals
from lab.metrics.calibration import fit_probability, threshold_for
from lab.metrics.collected import Collected, Part, Results
from lab.metrics.evaluation import Evaluation
from lab.metrics.one_shot import Search, Tasks, draw_tasks, one_shot_hits
from lab.metrics.retrieval import nearest_neighbor_hits, search_values
from lab.metrics.verification import error_rates, verification_scores

PairDraw = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor, Tensor]]
PairDistance = Callable[[Tensor, Tensor], Tensor]
MAX_CHUNK_ELEMENTS = 2**24
LARGEST = 1e15  # of a coordinate whose square a sum can hold in float32
# What is scored every epoch; a test scores all there is.
EVERY_EPOCH = ("auc", "eer", "pair_accuracy", "recall@1", "map@r", "nearest_neighbor_accuracy")


class EmbeddingMetrics(Collected):
    """Collects embeddings over batches and ranks and scores them at the end.

    - Search within the split, as ``search_values`` describes, and ``nearest_neighbor_accuracy``, the share of images whose
      nearest in the gallery has their class.
    - Verification on balanced pairs drawn from the split, as ``verification_scores`` describes. A pair is called the same up to
      the ``threshold``, and is so with probability sigmoid(``offset`` - ``slope`` * distance). All three are set from the pairs
      of the validation split, and are kept with the weights of the model.
    - ``one_shot_accuracy``: the share of queries told right in tasks of classes of the split; ``one_shot_within_alphabet`` or
      the like, where classes have groups and a task is of one of them; ``one_shot_trials``, where the data has fixed ones.

    Args:
        draw_pairs: draws balanced pairs from labels, a number and a generator; returns positions and same or not.
        pair_distance: distances (M,) of embeddings (M, D) to those (M, D) beside them.
        search: what the images are searched by: ``euclidean``, ``cosine``, or None where they cannot be, as where the
            distance is learned.
        evaluation: what is asked; None for what is usual.
    """

    parts: tuple[Part, ...] = ("images", "gallery", "trials")
    threshold: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(
        self,
        draw_pairs: PairDraw,
        pair_distance: PairDistance,
        search: Search | None = "euclidean",
        evaluation: Evaluation | None = None,
    ) -> None:
        if search not in ("euclidean", "cosine", None):
            raise ValueError(f"images are searched by euclidean or cosine distance, not by {search!r}")
        self.parts = ("images", "gallery", "trials") if search is not None else ("images", "trials")
        super().__init__()
        self.draw_pairs = draw_pairs
        self.pair_distance = pair_distance
        self.search = search
        self.evaluation = evaluation or Evaluation()
        self.groups: tuple[str, Tensor] | None = None
        self.trial_tasks: Tasks | None = None
        for name in ("threshold", "slope", "offset"):
            self.register_buffer(name, torch.tensor(torch.nan))

    def prepare(self, stage: str, data: Any) -> None:
        """Take note of what is seen, and of what the data know of it."""
        super().prepare(stage, data)
        self.groups = data.groups(stage) if hasattr(data, "groups") else None
        tasks = getattr(data, "trial_tasks", None)
        self.trial_tasks = None if tasks is None else Tasks(*tasks)

    def probability(self, distances: Tensor) -> Tensor:
        """Return how probable it is that pairs at these distances (M,) are of one class, where half of all pairs are."""
        return torch.sigmoid(self.offset.to(distances) - self.slope.to(distances) * distances)

    def compute(self) -> dict[str, Tensor]:
        """Return each score, a scalar in [0, 1], by name; NaN where the split cannot have it or an embedding is not finite."""
        embeddings, labels = self.collected("images")
        assert embeddings is not None and labels is not None
        gallery, gallery_labels = self.collected("gallery")
        results = Results(embeddings, labels, gallery, gallery_labels)
        # Scores of what has diverged, also of squares that are no more finite, would be those of the order of NaNs.
        seen = [outputs for outputs in (embeddings, gallery, self.collected("trials")[0]) if outputs is not None]
        finite = all(bool((outputs.abs() < LARGEST).all()) for outputs in seen)
        if not finite:
            embeddings, gallery = torch.zeros_like(embeddings), None if gallery is None else torch.zeros_like(gallery)
        scores = self._verify(embeddings, labels, results, calibrating=self.calibrating and finite)
        if self.search is not None:
            values = self._search(embeddings, labels, gallery, gallery_labels)
            scores |= {name: value.nanmean() for name, value in values.items()}
            results.intervals |= mean_intervals(values) if self.thorough else {}
        scores |= self._recognise(embeddings, labels, results)
        if self.thorough:
            self.results = results
        told = {n: s for n, s in scores.items() if not (n.startswith("fnmr@") and s.isnan())}  # by so few pairs
        chosen = {n: s for n, s in told.items() if self.thorough or n in EVERY_EPOCH or n.startswith("one_shot")}
        return {name: score.float() if finite else score.float() * torch.nan for name, score in chosen.items()}

    def _verify(self, embeddings: Tensor, labels: Tensor, results: Results, calibrating: bool) -> dict[str, Tensor]:
        """Score pairs by the threshold, which is set by them before where they are those to calibrate by."""
        generator = torch.Generator().manual_seed(0)
        first, second, same = self.draw_pairs(labels, self.evaluation.num_pairs, generator)
        chunks = torch.arange(len(same)).split(max(1, MAX_CHUNK_ELEMENTS // embeddings.shape[1])) if len(same) else []
        parts = [self.pair_distance(embeddings[first[chunk]], embeddings[second[chunk]]).float() for chunk in chunks]
        # What follows is scored on the CPU: it needs float64, which not every accelerator has.
        distances, same = torch.cat(parts).cpu() if parts else torch.zeros(0), same.cpu()
        if calibrating and len(same):
            self.threshold.copy_(threshold_for(self.evaluation.operating_point, distances, same))
            for coefficient, value in zip((self.slope, self.offset), fit_probability(distances, same), strict=True):
                coefficient.copy_(value)
        threshold = self.threshold.cpu()
        if self.thorough and len(same):
            first, second = first.cpu(), second.cpu()
            results.pairs = {"first": first, "second": second, "same": same, "distances": distances}

            def score(weights: Tensor) -> dict[str, Tensor]:
                return verification_scores(error_rates(distances, same, weights[:, first] * weights[:, second]), threshold)

            # Images are drawn anew, not pairs, which are not independent where they share an image (Owen, "The pigeonhole
            # bootstrap", 2007): a pair counts as often as the product of what its images do.
            results.intervals |= intervals(len(labels), score, len(labels) + 6 * len(same))
        scores = verification_scores(error_rates(distances, same), threshold)
        for name in [name for name, value in scores.items() if value.isnan()]:  # what so few pairs cannot tell has no interval
            results.intervals.pop(name, None)
        return {name: value.float().to(embeddings.device) for name, value in scores.items()}

    def _search(
        self, embeddings: Tensor, labels: Tensor, gallery: Tensor | None, gallery_labels: Tensor | None
    ) -> dict[str, Tensor]:
        """Score each image as a query, (N,), by name."""
        if len(labels) > self.evaluation.num_searched and not self.thorough:
            some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[: self.evaluation.num_searched]
            embeddings, labels = embeddings[some], labels[some]
        queries = self.to_search(embeddings)
        values = search_values(queries, labels)
        if gallery is not None and gallery_labels is not None:
            hits = nearest_neighbor_hits(queries, labels, self.to_search(gallery), gallery_labels)
            values["nearest_neighbor_accuracy"] = hits.float()
        return values

    def _recognise(self, embeddings: Tensor, labels: Tensor, results: Results) -> dict[str, Tensor]:
        """Score one-shot tasks."""
        asked, scores = self.evaluation, {}
        kinds = {"accuracy": None, **({f"within_{self.groups[0]}": self.groups[1]} if self.groups is not None else {})}
        for name, groups in kinds.items():
            generator = torch.Generator().manual_seed(0)
            tasks = draw_tasks(labels.cpu(), asked.num_ways, asked.num_shots, asked.num_tasks, generator, groups)
            if tasks is not None:
                hits = self._hits(embeddings, tasks)
                scores[f"one_shot_{name}"] = hits.mean()
                results.intervals |= task_intervals(f"one_shot_{name}", hits, tasks, len(labels)) if self.thorough else {}
        trials, numbers = self.collected("trials")
        if trials is not None and numbers is not None and self.trial_tasks is not None and self._are_all(numbers):
            told = {"one_shot_trials": self._hits(trials[numbers.argsort()], self.trial_tasks).mean(1)}
            scores["one_shot_trials"] = told["one_shot_trials"].mean()
            results.intervals |= mean_intervals(told) if self.thorough else {}
        return scores

    def _are_all(self, numbers: Tensor) -> bool:
        """Return whether the images of all trials were seen, and not those of a part of a test."""
        assert self.trial_tasks is not None
        return len(numbers) > max(int(places.max()) for places in self.trial_tasks)

    def _hits(self, embeddings: Tensor, tasks: Tasks) -> Tensor:
        return one_shot_hits(embeddings, tasks, self.pair_distance if self.search is None else self.search).float()

    def to_search(self, embeddings: Tensor) -> Tensor:
        """Scale to unit length for cosine, which ranks alike as Euclidean distance then."""
        return torch.nn.functional.normalize(embeddings, dim=1) if self.search == "cosine" else embeddings
