"""Which images are used: stratified validation splits, few images a class, a subset of the classes."""

import difflib

import torch
from torch import Tensor

from lab.data.arrays import ImageArrays


def stratified_split(labels: Tensor, num_held_out: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split positions so that every class is held out in proportion, to within one image.

    Args:
        labels: int64 (N,); num_held_out: how many of the N to hold out; generator: source of the draw.

    Returns:
        Positions kept (N - num_held_out,) and held out (num_held_out,), each sorted.
    """
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[torch.argsort(labels[order], stable=True)]
    # Walking through the classes one after the other, take each image at which the due share passes a whole number.
    due = torch.arange(1, len(labels) + 1) * num_held_out // len(labels)
    held_out = torch.diff(due, prepend=torch.zeros(1, dtype=torch.int64)) > 0
    return by_class[~held_out].sort().values, by_class[held_out].sort().values


def few_a_class(labels: Tensor, num_images: int, generator: torch.Generator) -> Tensor:
    """Draw positions of ``num_images`` images of each class, sorted; a class with fewer keeps all of its own."""
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[torch.argsort(labels[order], stable=True)]
    _, counts = torch.unique_consecutive(labels[by_class], return_counts=True)
    rank_in_class = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return by_class[rank_in_class < num_images].sort().values


def choose_classes(classes: int | list[str | int] | None, class_names: list[str], data_name: str) -> list[str]:
    """Return the class names asked for: all, the first so many, or those listed, in the order of the list.

    Raises:
        ValueError: if more are asked for than exist, or one does not exist, naming the nearest that does.
    """
    if classes is None:
        return class_names
    if isinstance(classes, int):
        if not 2 <= classes <= len(class_names):
            raise ValueError(f"data.classes asks for {classes} classes; {data_name} has {len(class_names)}, and 2 are needed")
        return class_names[:classes]
    chosen = [str(name) for name in classes]
    for name in chosen:
        if name not in class_names:
            near = difflib.get_close_matches(name, class_names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(class_names[:10])}"
            raise ValueError(f"data.classes asks for {name!r}, which {data_name} does not have; {hint}")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError(f"data.classes must list at least two classes, each once, not {chosen}")
    return chosen


def keep_classes(arrays: ImageArrays, class_names: list[str]) -> ImageArrays:
    """Keep the images of these classes and number the classes anew, in this order."""
    if class_names == arrays.class_names:
        return arrays
    new_label = torch.full((len(arrays.class_names),), -1)
    for label, name in enumerate(class_names):
        new_label[arrays.class_names.index(name)] = label
    labels = new_label[arrays.labels]
    positions = (labels >= 0).nonzero().squeeze(1)
    return arrays.select(positions, labels[positions], class_names)
