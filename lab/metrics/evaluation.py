"""How an embedding is evaluated."""

from dataclasses import dataclass

from lab.metrics.calibration import OperatingPoint, check_operating_point


@dataclass(frozen=True)
class Evaluation:
    """What is asked of an embedding, on validation images every epoch and on test images at the end.

    Args:
        operating_point: by what the threshold is chosen on validation pairs: ``best_accuracy``, ``equal_error``, or a false
            match rate, such as 0.01, that is not to be exceeded.
        num_pairs: pairs drawn for verification, half of one class, always the same.
        num_ways: classes of a one-shot task; all there are, where there are fewer.
        num_shots: examples of each class.
        num_tasks: one-shot tasks, with a query of each class, always the same.
        num_searched: validation images among which each is searched every epoch, always the same ones where there are more, as
            the time for it grows with their square. A test searches among all.
    """

    operating_point: OperatingPoint = "best_accuracy"
    num_pairs: int = 20_000
    num_ways: int = 20
    num_shots: int = 1
    num_tasks: int = 100
    num_searched: int = 10_000

    def __post_init__(self) -> None:
        check_operating_point(self.operating_point)
        smallest = {"num_pairs": 100, "num_ways": 2, "num_shots": 1, "num_tasks": 1, "num_searched": 2}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"model.evaluation.{name} must be {least} or more, not {getattr(self, name)}")
        num_different = self.num_pairs // 2
        if isinstance(self.operating_point, int | float) and self.operating_point * num_different < 1:
            raise ValueError(
                f"model.evaluation.operating_point {self.operating_point:g} is less than one of the {num_different} pairs of "
                "two classes, half of model.evaluation.num_pairs, that it is measured on: raise either"
            )
