"""What a file of arrays says about its images, read without reading them, and checked."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

NEEDED = ("images", "labels")
BYTES = ("uint8", "U8")
BROKEN = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, SafetensorError)


class Contents(NamedTuple):
    """What a file of N images holds beside them: labels int64 (N,), and 0, 1 or 2, int64 (N,), to train, validate or test."""

    image_shape: tuple[int, int, int]
    labels: Tensor
    split: Tensor
    class_names: list[str] | None


def read_contents(path: Path) -> Contents:
    """Return what a ``.safetensors`` or ``.npz`` file holds beside the pixels.

    Raises:
        ValueError: if the file or what it holds is not as ``Arrays`` says, naming it and what to do.
    """
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"{path} must be an .npz or a .safetensors file")
    try:
        shape, kind, arrays = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except BROKEN as error:
        reason = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} cannot be read: {' '.join(reason.split())}") from error
    image_shape = _image_shape(shape, kind, path)
    labels = _integers(arrays["labels"], shape[0], f"labels of {path}")
    split = _integers(arrays.get("split", np.zeros(shape[0], np.int64)), shape[0], f"split of {path}")
    if not set(split.unique().tolist()) <= {0, 1, 2}:
        raise ValueError(f"split of {path} must be 0 to train on an image, 1 to validate and 2 to test")
    names = arrays.get("class_names")
    return Contents(image_shape, labels, split, None if names is None else [str(name) for name in np.ravel(names)])


def read_images(path: Path) -> Tensor:
    """Return the images, in the shape they have there; those of a ``.safetensors`` file stay there until they are used."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as file:
                return torch.from_numpy(_npz_array(file, "images"))
        with safe_open(path, framework="pt") as file:
            images: Tensor = file.get_tensor("images")
            return images
    except BROKEN as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def name_classes(contents: Contents, path: Path) -> tuple[Tensor, list[str]]:
    """Return the labels there are to train on, sorted, and the name of the class of each: its number where there is no other.

    Raises:
        ValueError: if there are fewer than two, or the names do not fit them.
    """
    values = contents.labels[contents.split == 0].unique()
    if not len(values):
        raise ValueError(f"split of {path} is 0 nowhere: there is nothing to train on")
    names = contents.class_names
    if names is None:
        names = [str(value) for value in values.tolist()]
    elif values.min() >= 0 and values.max() < len(names):
        values = torch.arange(len(names))
    if len(names) != len(values) or len(set(names)) < len(names):
        raise ValueError(f"{path} has {len(set(names))} different class_names for {len(values)} classes; each needs one")
    if len(names) < 2:
        raise ValueError(f"{path} has one class, {names[0]!r}; two are needed")
    return values, names


def number_labels(labels: Tensor, values: Tensor, path: Path) -> Tensor:
    """Number labels (N,) from 0, by their place among the sorted values; all int64.

    Raises:
        ValueError: if a label is not among the values.
    """
    numbers = torch.searchsorted(values, labels).clamp(max=len(values) - 1)
    unknown = labels[values[numbers] != labels]
    if len(unknown):
        raise ValueError(f"{path} has the label {int(unknown[0])}, which no training image has")
    return numbers


def _image_shape(shape: tuple[int, ...], kind: str, path: Path) -> tuple[int, int, int]:
    """Return channels, height and width of images of this shape and type of number."""
    if kind not in BYTES:
        is_float = "f" in kind.lower()  # float32, or F32, or BF16
        how = "(images * 255).round().astype('uint8'), if they are in [0, 1]" if is_float else "images.astype('uint8')"
        raise ValueError(f"images of {path} must be uint8, not {kind}; convert them: images = {how}")
    if len(shape) == 3 and 0 not in shape:
        return (1, shape[1], shape[2])
    first, last = (len(shape) == 4 and 0 not in shape and shape[place] in (1, 3) for place in (1, -1))
    if first and last:
        raise ValueError(
            f"images {shape} of {path} may be N x C x H x W or N x H x W x C; save them with more than 3 pixels a side, or "
            "grey ones as N x H x W"
        )
    if not first and not last:
        raise ValueError(f"images of {path} must be N x H x W, N x H x W x C or N x C x H x W with C 1 or 3, not {shape}")
    return (shape[1], shape[2], shape[3]) if first else (shape[3], shape[1], shape[2])


def _integers(array: "np.ndarray[Any, Any]", num: int, name: str) -> Tensor:
    if array.dtype.kind not in "iu" or array.size != num or array.ndim == 0 or len(array) != num:
        meaning = " (0 to train, 1 to validate, 2 to test)" if name.startswith("split") else ""
        raise ValueError(f"{name} must be {num} integers, one an image{meaning}, not {array.dtype} {array.shape}")
    return torch.from_numpy(array.reshape(-1).astype(np.int64))


def _read_npz(path: Path) -> tuple[tuple[int, ...], str, dict[str, Any]]:
    """Return the shape and type of the images, and the other arrays."""
    with zipfile.ZipFile(path) as file:
        there = [name.removesuffix(".npy") for name in file.namelist()]
        _check_names(there)
        with file.open("images.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
        arrays: dict[str, Any] = {name: _npz_array(file, name) for name in ("labels", "split", "class_names") if name in there}
    return tuple(shape), str(dtype), arrays


def _npz_array(file: zipfile.ZipFile, name: str) -> "np.ndarray[Any, Any]":
    with file.open(f"{name}.npy") as member:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(member, allow_pickle=False)  # a pickle could run anything
    return array


def _read_safetensors(path: Path) -> tuple[tuple[int, ...], str, dict[str, Any]]:
    """Return the shape and type of the images, and the other arrays."""
    with safe_open(path, framework="np") as file:
        _check_names(list(file.keys()))
        images = file.get_slice("images")
        arrays = {name: file.get_tensor(name) for name in ("labels", "split") if name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if "class_names" in metadata:
        arrays["class_names"] = json.loads(metadata["class_names"])
    return tuple(images.get_shape()), str(images.get_dtype()), arrays


def _check_names(there: list[str]) -> None:
    for name in NEEDED:
        if name not in there:
            raise ValueError(f"it has no {name}; it has {', '.join(there) or 'nothing'}")
