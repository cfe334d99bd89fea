"""What a family needs of the data."""

from typing import Any


def check_needs(model: Any, data: Any) -> None:
    """Refuse data that a family cannot be scored on or learn from.

    Raises:
        ValueError: if its validation and test classes are not those trained on and the family knows no others; if no training
            batch can hold two images of a class for a family that needs them; if its episodes are not as the loss expects.
    """
    name, data_name = type(model).__name__, type(data).__name__
    splits = getattr(data, "splits", None) or {}
    if model.needs_known_classes and splits and not data.classes_are_shared:
        raise ValueError(
            f"{name} can only be scored on the classes it was trained on, and {data_name} validates and tests on others: use a "
            "family that embeds, such as lab.models.Siamese or lab.models.Triplet"
        )
    if model.needs_pairs and "train" in splits:
        if int(splits["train"].labels.bincount().max()) < 2:
            raise ValueError(f"{name} learns from images of one class, and no two training images are: raise their number")
        for option in ("samples_per_class", "batch_size"):
            if getattr(data, option, None) == 1 and not (option == "batch_size" and data.episodes):
                raise ValueError(f"data.{option} 1 leaves no two images of one class in a batch, from which {name} learns")
    num = getattr(getattr(model.metrics, "evaluation", None), "num_shots", 1)
    for split in [name for name in ("val", "test") if name in splits and num > 1]:  # with 1, there is no such score then
        if int((splits[split].labels.bincount() > num).sum()) < 2:
            raise ValueError(
                f"model.evaluation.num_shots {num} asks for {num + 1} images a class, the examples and a query, and fewer than "
                f"two classes of the {split} split have so many: lower it"
            )
    episodes, num_shots = getattr(data, "episodes", None), getattr(getattr(model, "loss", None), "num_shots", None)
    if episodes is not None and num_shots is not None and num_shots != episodes.num_shots:
        raise ValueError(
            f"model.loss.num_shots {num_shots} and data.episodes.num_shots {episodes.num_shots} must be the same number"
        )


def check_class_names(checkpoint: dict[str, Any], data: Any) -> None:
    """Make sure that the data number the classes as those a checkpoint was trained on.

    Raises:
        ValueError: naming both lists of classes.
    """
    trained_on = checkpoint.get("preparation", {}).get("class_names")
    asked_for = getattr(data, "class_names", trained_on)
    if trained_on is not None and trained_on != asked_for:
        raise ValueError(
            f"the checkpoint was trained on the classes {', '.join(trained_on)}, but the data has {', '.join(asked_for)}: "
            "give data.classes the same ones in the same order"
        )
