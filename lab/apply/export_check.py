"""Whether an exported file gives what the checkpoint's own model gives."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lab.apply.embed import pictures_in
from lab.apply.trained import Trained
from lab.data.mnist import BUNDLED_FILE

LARGEST_DIFFERENCE = 1e-4
MAX_IMAGES = 64


def check_images(trained: Trained, pictures: Path | None) -> tuple[Tensor, str]:
    """Return some images to check a model on, uint8 (N, C, H, W), 3 or more, and what they are.

    Args:
        trained: whose images have to have the shape (C, H, W).
        pictures: a folder of pictures; None for the bundled test digits, if they have the shape, or random images.

    Raises:
        ValueError: if there are not three pictures in the folder, or one cannot be read, naming it.
    """
    shape = trained.preparation.image_shape
    if pictures is not None:
        paths = pictures_in(pictures)[:MAX_IMAGES]
        if len(paths) < 3:
            raise ValueError(f"{pictures} has {len(paths)} pictures; at least 3 are needed to check an export on")
        return torch.stack([trained.preparation.read(path) for path in paths]), f"{len(paths)} pictures in {pictures}"
    if shape == (1, 28, 28):
        with np.load(BUNDLED_FILE) as file:
            digits = torch.from_numpy(file["images"][file["split"] == 2]).unsqueeze(1)
        return digits[:: len(digits) // MAX_IMAGES][:MAX_IMAGES], f"{MAX_IMAGES} of the bundled digits"
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (7, *shape), generator=generator, dtype=torch.uint8)
    return noise, "7 random images, as --check names no pictures"


def largest_difference(path: Path, trained: Trained, images: Tensor) -> float:
    """Return how far the outputs of a file are from those of the model, the most of all outputs.

    Where outputs are larger than 1, as a share of the largest one: float32 tells no more. NaN where only one of them is.

    Args:
        path: ``encoder`` or ``pair``, as ``.onnx`` or ``.pt2``.
        trained: the model.
        images: uint8 (N, C, H, W), of which it is also given one less, so that its number of images is seen to be free.
    """
    differences = []
    for batch in (images, images[:-1], images[:1]):
        inputs = [batch] if path.stem == "encoder" else [batch, batch.roll(1, 0)]
        expected = _expected(trained, inputs)
        outputs = _run(path, [image.float() / 255 for image in inputs])
        for output, value in zip(outputs, expected, strict=True):
            if output.shape != value.shape or not torch.equal(output.isnan(), value.isnan()):
                return float("nan")
            difference = (output - value).nan_to_num().abs().max() / value.nan_to_num().abs().max().clamp(min=1)
            differences.append(difference.item())
    return max(differences)


def _expected(trained: Trained, inputs: list[Tensor]) -> list[Tensor]:
    """Return what the checkpoint's own model gives, by the way that all other commands go."""
    if trained.classifies:
        return [trained.classify(inputs[0])]
    embeddings = [trained.embed(images) for images in inputs]
    if len(inputs) == 1:
        return embeddings
    judged = trained.judge(trained.distances(*embeddings))
    return [judged.distances, judged.probability]


def _run(path: Path, inputs: list[Tensor]) -> list[Tensor]:
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        named = {given.name: images.numpy() for given, images in zip(session.get_inputs(), inputs, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, named)]
    with torch.no_grad():
        outputs = torch.export.load(path).module()(*inputs)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
