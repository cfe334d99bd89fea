"""What the options that all data sets have can be."""

from typing import Any

MOST_PIXELS = 4_096  # a side


def check_options(
    batch_size: int,
    samples_per_class: int | None,
    validation_size: int | float | None,
    num_images_per_class: int | None,
    image_size: int | None,
    label_noise: float,
    kinds_of_batch: tuple[bool, ...],
) -> None:
    """Make sure that sizes are positive, shares are shares, and a batch is one thing.

    Args:
        batch_size, samples_per_class, validation_size, num_images_per_class, image_size, label_noise: options of a data set.
        kinds_of_batch: whether P x K, pairs and episodes are asked for.

    Raises:
        ValueError: naming the option.
    """
    sizes = {
        "batch_size": batch_size,
        "samples_per_class": samples_per_class,
        "validation_size": validation_size,
        "num_images_per_class": num_images_per_class,
        "image_size": image_size,
    }
    for name, value in sizes.items():
        if value is not None and not value > 0:
            raise ValueError(f"data.{name} must be positive, not {value}")
    if image_size is not None and image_size > MOST_PIXELS:
        raise ValueError(f"data.image_size must be at most {MOST_PIXELS:,} pixels a side, not {image_size}")
    share = validation_size
    if isinstance(share, float) and (share == 1 or (share > 1 and share % 1)):
        raise ValueError(f"data.validation_size must be a share below 1 or a whole number, not {share}")
    if not 0.0 <= label_noise <= 1.0:
        raise ValueError(f"data.label_noise must be a share from 0 to 1, not {label_noise}")
    if sum(kinds_of_batch) > 1:
        raise ValueError(
            "data.samples_per_class, data.pairs and data.episodes each say what a batch is: set the others to null, or false"
        )


def checked_seed(seed: int) -> int:
    """Return a seed.

    Raises:
        ValueError: if no random numbers can be drawn by it.
    """
    if seed < 0:
        raise ValueError(f"data.seed must be 0 or more, not {seed}")
    return seed


def refuse_overfitting(trainer: Any) -> None:
    """Refuse a setting of the trainer by which it would make batches of its own.

    Raises:
        ValueError: with what to do instead.
    """
    if getattr(trainer, "overfit_batches", False):
        raise ValueError(
            "trainer.overfit_batches would replace the batches by single images; to overfit a few images, keep few by "
            "data.num_images_per_class"
        )


def num_batches_seen(trainer: Any) -> int:
    """Return how many batches a run has seen of the epoch in whose middle it goes on from a checkpoint."""
    loop = getattr(trainer, "fit_loop", None)
    if loop is None or not loop.restarting or loop.epoch_loop.batch_progress.is_last_batch:
        return 0
    num: int = loop.epoch_loop.batch_progress.current.ready
    return num
