"""Pairs of images, told apart by one encoder or by two."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lab.losses import ContrastiveLoss, PairCrossEntropy
from lab.losses.distances import pair_distances
from lab.losses.inputs import check_input
from lab.losses.reduction import in_float32
from lab.losses.tuples import balanced_pairs, rows
from lab.metrics import EmbeddingMetrics, Evaluation
from lab.models.base import Batch, Family, embedding_size_of
from lab.models.ranks import of_all_ranks
from lab.nets.heads import LogisticUnit
from lab.nets.views import Views, both_views, view_shape


class Siamese(Family):
    """Two images compared by their embeddings: Bromley et al., "Signature Verification using a Siamese ...", 1993.

    The distance d(f(x1), f(x2)) is trained to be small where both are of one class and large where not; or, with a logistic
    head, p(same | x1, x2) = sigmoid(w . |f(x1) - f(x2)| + b) (Koch et al., 2015). The pairs are index tuples of the batch,
    as many of one class as of two, so each image passes the encoder once however many pairs it is in. With a second
    encoder g for the second image of a pair, the model is pseudo-siamese: d(f(x1), g(x2)).

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D).
        loss: of what the head gives, (M,), and same, (M,), 1 for pairs of one class; None for ``ContrastiveLoss()`` of
            distances or ``PairCrossEntropy()`` of logits.
        head: ``euclidean`` or ``cosine`` distance, or ``logistic``; D is the encoder's ``embedding_size`` then.
        other_encoder: the encoder of the second image of each pair, sharing nothing with the first; None for the same one.
        views: what is seen of the images of a pair: the ``whole`` of both, or of the first the upper half and of the second
            the lower half (``upper_lower``), or likewise ``left_right``.
        num_pairs: pairs drawn from a batch; None for all pairs of one class and as many of two.
        optimizer: makes an optimizer of parameters.
        scheduler: makes a learning rate scheduler of an optimizer.
        embedding_size: D, for a logistic head on an encoder that does not say.
        evaluation: how the embedding is evaluated; None for the usual way.
    """

    monitor = "val/auc"
    needs_pairs = True

    def __init__(
        self,
        encoder: nn.Module,
        loss: nn.Module | None = None,
        head: Literal["euclidean", "cosine", "logistic"] = "euclidean",
        other_encoder: nn.Module | None = None,
        views: Views = "whole",
        num_pairs: int | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        embedding_size: int | None = None,
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        if head not in ("euclidean", "cosine", "logistic") or views not in ("whole", "upper_lower", "left_right"):
            raise ValueError(
                f"Siamese: head, {head!r}, must be euclidean, cosine or logistic, and views, {views!r}, whole, upper_lower or "
                "left_right"
            )
        if embedding_size is not None and head != "logistic":
            raise ValueError(f"Siamese: embedding_size {embedding_size} has no effect with head {head}: leave it out")
        if num_pairs is not None and num_pairs < 2:
            raise ValueError(f"Siamese: num_pairs must be 2 or more, not {num_pairs}")
        self.encoder = encoder
        self.other_encoder = other_encoder
        self.views = views
        self.num_pairs = num_pairs
        self.distance = head
        self.head = LogisticUnit(embedding_size_of(encoder, embedding_size)) if head == "logistic" else None
        self.loss = loss if loss is not None else PairCrossEntropy() if head == "logistic" else ContrastiveLoss()
        check_input(self.loss, "pair_logits" if head == "logistic" else "pair_distances", f"Siamese with head {head}")
        if head == "cosine" and getattr(self.loss, "margin", 0.0) > 2:
            raise ValueError(f"model.loss.margin {self.loss.margin} is never reached by cosine distances, which are 2 at most")
        search = None if head == "logistic" or self.has_two_views else head
        self.metrics = EmbeddingMetrics(balanced_pairs, self.pair_distance, search, evaluation)

    @property
    def has_two_views(self) -> bool:
        """Whether the first and the second image of a pair are embedded differently."""
        return self.other_encoder is not None or self.views != "whole"

    @classmethod
    def encoder_image_shape(cls, image_shape: Sequence[int], settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape of a view."""
        return view_shape(image_shape, settings.get("views", "whole"))

    @property
    def num_branches(self) -> int:
        """How many images of a pair the encoder is for, for a diagram."""
        return 2 if self.other_encoder is None else 1

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (N, D) of images (N, C, H, W); with two views (N, 2 D), as first and as second image of a pair."""
        if not self.has_two_views:
            embeddings: Tensor = self.encoder(images)
            return embeddings
        first, second = both_views(images, self.views)
        if self.other_encoder is None:
            return torch.cat(self.encoder(torch.cat([first, second])).chunk(2), dim=1)
        one, other = self.encoder(first), self.other_encoder(second)
        if one.shape != other.shape:
            raise ValueError(
                f"model.other_encoder: its outputs are {other.shape[1]} long, those of model.encoder {one.shape[1]}: give both "
                "the same embedding_size"
            )
        return torch.cat([one, other], dim=1)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return distances (M,) or logits (M,) of what ``forward`` gave for the first and the second image of M pairs."""
        if self.has_two_views:
            first, second = first.chunk(2, dim=1)[0], second.chunk(2, dim=1)[1]
        if self.head is not None:
            dtype = self.head.layer.weight.dtype  # embeddings that were collected for scoring are float32
            logits: Tensor = self.head(first.to(dtype), second.to(dtype))
            return logits
        with in_float32(first) as first, in_float32(second) as second:
            return pair_distances(first, second, "cosine" if self.distance == "cosine" else "euclidean")

    def pair_distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return what is smaller the more alike the images of a pair are, (M,): their distance, or their logit negated."""
        return self.compare(first, second) if self.head is None else -self.compare(first, second)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss over the pairs of the batch; while evaluating, collect the embeddings too."""
        images, labels = batch
        embeddings = self(images)
        if not self.training:
            self.metrics.update(embeddings, labels)
        return self.loss_of(*of_all_ranks(self, embeddings, labels))

    def loss_of(self, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss over the pairs of embeddings (N, D) or (N, 2 D) with labels (N,), and how many pairs there are."""
        # The images of the batch are drawn by seed, epoch and rank already, so this draw need only differ from step to step.
        drawn_by = torch.Generator().manual_seed(self.global_step if self.training else 0)
        first, second, same = balanced_pairs(labels, self.num_pairs or len(labels) ** 2, drawn_by)
        if len(same) == 0:  # a small batch of random images, of which a loss that is a mean would be NaN
            return {"loss": embeddings.sum() * 0.0, "num_averaged": torch.tensor(0)}
        with in_float32(embeddings) as embeddings:  # before the pairs are taken apart, whose gradients are added up then
            compared = self.compare(rows(embeddings, first), rows(embeddings, second))
        return {"loss": self.loss(compared, same.float()), "num_averaged": torch.tensor(len(same))}
