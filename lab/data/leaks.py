"""Images to be tested on that are among those that are trained on."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from lab.data.arrays import ImageArrays

NUM_NAMED = 3
CHUNK = 1_000  # images read at a time


def leaks(splits: dict[str, ImageArrays], paths: dict[str, list[Path]], trained_on: list[str]) -> list[str]:
    """Say of each split that is scored on which of its images are trained on too, pixel for pixel.

    Args:
        splits: by name.
        paths: the file of each image of each split.
        trained_on: names of splits.
    """
    seen = {digest: path for split in trained_on for digest, path in zip(_digests(splits[split]), paths[split], strict=True)}
    found = []
    for split in [name for name in ("val", "test") if name in splits and name not in trained_on]:
        digests = zip(_digests(splits[split]), paths[split], strict=True)
        alike = [(path, seen[digest]) for digest, path in digests if digest in seen]
        if alike:
            num, named = len(alike), ", ".join(f"{path} is {other}" for path, other in alike[:NUM_NAMED])
            more = f" and {num - NUM_NAMED} more" if num > NUM_NAMED else ""
            found.append(
                f"{num} of the {len(splits[split])} {split} pictures {'is' if num == 1 else 'are'} trained on too, which "
                f"flatters the score: {named}{more}; scripts/check_data.py names all"
            )
    return found


def _digests(arrays: ImageArrays) -> Iterator[bytes]:
    for start in range(0, len(arrays), CHUNK):
        for image in arrays[start : start + CHUNK][0].numpy():
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()
