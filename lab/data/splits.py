"""Which images are used: stratified validation splits, few images a class, a subset of the classes."""

import difflib
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from lab.data.arrays import ImageArrays
from lab.data.batches import generator_for
from lab.data.views import Stacked

HoldOut = Literal["stratified", "first"]


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


def hold_out(arrays: ImageArrays, size: int | float, which: HoldOut = "stratified") -> tuple[ImageArrays, ImageArrays]:
    """Split off a number of images, or a share of them, stratified by a fixed generator, or the first ones.

    An image that was ever validated on is then never trained on, whatever the seed of a run.

    Raises:
        ValueError: if one of both would be empty, or there is no such way.
    """
    if which not in get_args(HoldOut):
        raise ValueError(f"data.hold_out must be {' or '.join(get_args(HoldOut))}, not {which!r}")
    num_held_out = round(size * len(arrays)) if size < 1 else round(size)
    if not 0 < num_held_out < len(arrays):
        leaves = "nothing to train on" if num_held_out else "nothing to validate on"
        raise ValueError(f"data.validation_size {size} leaves {leaves}: there are {len(arrays)} images")
    if which == "first":
        held_out, kept = torch.arange(len(arrays)).tensor_split([num_held_out])
    else:
        kept, held_out = stratified_split(arrays.labels, num_held_out, generator_for("validation split"))
    return arrays.select(kept), arrays.select(held_out)


def divide(
    splits: dict[str, ImageArrays],
    size: int | float,
    which: HoldOut,
    anew: bool,
    keep: Callable[[ImageArrays], ImageArrays] = lambda arrays: arrays,
) -> dict[str, ImageArrays]:
    """Return the splits with ``val``: its own where there is one and no other is asked for ``anew``, else held out.

    Classes are kept by ``keep`` before images are held out, but after the first ones are: those are the first of all.
    """
    if which != "first":
        splits = {name: keep(arrays) for name, arrays in splits.items()}
    if "val" in splits and anew:
        splits["train"] = joined(splits["train"], splits.pop("val"))
    if "val" not in splits:
        splits["train"], splits["val"] = hold_out(splits["train"], size, which)
    return {name: keep(arrays) for name, arrays in splits.items()} if which == "first" else splits


def few_a_class(labels: Tensor, num_images: int, generator: torch.Generator) -> Tensor:
    """Draw positions of ``num_images`` images of each class, sorted; a class with fewer keeps all of its own.

    Raises:
        ValueError: if no class has so many.
    """
    largest = int(labels.bincount().max())
    if num_images > largest:
        raise ValueError(f"data.num_images_per_class {num_images} is more than any class has to train on, {largest}")
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


def joined(first: ImageArrays, second: ImageArrays) -> ImageArrays:
    """Join two splits of the same classes, without copying their images.

    Raises:
        ValueError: if their classes or the shapes of their images differ.
    """
    if first.class_names != second.class_names or first.images.shape[1:] != second.images.shape[1:]:
        raise ValueError("data.join: only splits of the same classes and the same shape of images can be joined")
    first_rows, second_rows = (torch.arange(len(split)) if split.rows is None else split.rows for split in (first, second))
    images = first.images
    if images is not second.images:
        second_rows = second_rows + images.shape[0]
        images = Stacked([part for split in (first, second) for part in getattr(split.images, "parts", [split.images])])
    labels = torch.cat([first.labels, second.labels])
    return ImageArrays.of_rows(images, torch.cat([first_rows, second_rows]), labels, first.class_names)


def join_to_train(splits: dict[str, ImageArrays], names: list[str], data_name: str) -> None:
    """Join these splits to ``train``, in place.

    Raises:
        ValueError: if there is none of a name.
    """
    for name in names:
        there = sorted(splits.keys() - {"train", "test", "trials"})
        if name not in there:
            known = ", ".join(there) or "none, or none left"
            raise ValueError(f"data.join: {data_name} has no split {name!r} to join; it has {known}")
        splits["train"] = joined(splits["train"], splits.pop(name))
