"""Whether the classes of the data are those that a model knows."""

from typing import Any


def check_classes(model: Any, data: Any) -> None:
    """Refuse data whose validation and test classes are not those trained on, for a family that cannot be scored on others.

    Raises:
        ValueError: naming both.
    """
    if model.needs_known_classes and getattr(data, "splits", None) and not data.classes_are_shared:
        raise ValueError(
            f"{type(model).__name__} can only be scored on the classes it was trained on, and {type(data).__name__} validates "
            "and tests on others: use a family that embeds, such as lab.models.Siamese or lab.models.Triplet"
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
