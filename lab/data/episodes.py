"""N-way K-shot tasks."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Episodes:
    """N-way K-shot tasks: the classes of a batch, and of each the images given and the images asked about.

    Vinyals et al., "Matching Networks for One Shot Learning", 2016.

    Args:
        num_ways: classes in a batch.
        num_shots: images of each class that are given.
        num_queries: images of each class that are asked about.
    """

    num_ways: int = 5
    num_shots: int = 1
    num_queries: int = 5

    def __post_init__(self) -> None:
        if self.num_ways < 2 or min(self.num_shots, self.num_queries) < 1:
            raise ValueError(
                f"data.episodes needs 2 ways and 1 shot and query or more, not num_ways {self.num_ways}, num_shots "
                f"{self.num_shots}, num_queries {self.num_queries}"
            )

    def check(self, labels: Tensor, num_classes: int) -> None:
        """Make sure that the images can fill an episode.

        Raises:
            ValueError: naming what is missing.
        """
        needed, smallest = self.num_shots + self.num_queries, int(labels.bincount(minlength=num_classes).min())
        if self.num_ways > num_classes:
            raise ValueError(f"data.episodes.num_ways {self.num_ways} is more than the {num_classes} classes to train on")
        if needed > smallest:
            raise ValueError(
                f"data.episodes needs {needed} images of each class, num_shots and num_queries together; one has {smallest}"
            )

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self.num_ways * (self.num_shots + self.num_queries)
