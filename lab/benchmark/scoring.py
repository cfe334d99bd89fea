"""Scoring that is timed, beside the bare matrix products, and reading a folder, beside decoding it again."""

from collections.abc import Callable
from pathlib import Path

import torch

from lab.benchmark.bare import folder_of
from lab.benchmark.cases import SIDE
from lab.benchmark.clock import Clock

NUM_TASKS, NUM_WAYS, SIZE = 400, 20, 64
NUM_IMAGES, NUM_CLASSES = 60_000, 10
CHUNK = 256  # rows of the bare product that are made at once
Timed = Callable[[], object]


def one_shot(root: Path, device: torch.device) -> dict[str, Timed]:
    """Return what scores 400 tasks of 20 classes with one example each, and the bare products of examples and queries."""
    from lab.metrics.one_shot import Tasks, one_shot_hits

    embeddings = torch.randn(NUM_TASKS * NUM_WAYS * 2, SIZE, generator=torch.Generator().manual_seed(0))
    embeddings = embeddings.to(device)
    places = torch.arange(len(embeddings), device=embeddings.device).view(2, NUM_TASKS, NUM_WAYS)
    tasks = Tasks(places[0].unsqueeze(2), places[1])

    return {
        "own": lambda: one_shot_hits(embeddings, tasks, "euclidean"),
        "bare": lambda: torch.bmm(embeddings[places[0]], embeddings[places[1]].transpose(1, 2)),
    }


def retrieval(root: Path, device: torch.device) -> dict[str, Timed]:
    """Return what scores each of 60,000 images in the search among all others, and the bare products."""
    from lab.metrics.retrieval import search_values

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(NUM_IMAGES) % NUM_CLASSES
    embeddings = torch.randn(NUM_CLASSES, SIZE, generator=generator)[labels]
    embeddings = embeddings + 0.7 * torch.randn(NUM_IMAGES, SIZE, generator=generator)
    embeddings, labels = (part.to(device) for part in (embeddings, labels))

    def products() -> None:
        product = embeddings.new_empty(CHUNK, NUM_IMAGES)
        for rows in embeddings.split(CHUNK):
            torch.mm(rows, embeddings.T, out=product[: len(rows)])

    return {"own": lambda: search_values(embeddings, labels), "bare": products}


def folder(root: Path, device: torch.device) -> dict[str, Timed]:
    """Return what reads all training pictures of a folder, and what decodes and resizes them anew."""
    from lab.data import ImageFolder

    data = ImageFolder(folder=root / "pictures", image_size=SIDE, batch_size=32)
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()

    def read() -> None:
        for batch in loader:
            data.on_after_batch_transfer(batch, 0)

    def decode() -> None:
        for place in range(len(pictures)):
            pictures[place]

    pictures = folder_of(root, to_tensor=True)
    return {"own": read, "decode": decode}


def timed(call: Timed, clock: Clock, num: int = 1) -> None:
    """Call again and again, and note the time of so many calls each time, but the first, in which much is done for once."""
    for _ in range(num):
        call()
    clock.lap(0)
    while True:
        for _ in range(num):
            call()
        clock.lap(num)


# By name: what it is; what makes the calls that are timed, by peer; and how many times a peer's time this codebase may take.
SCORING: dict[str, tuple[str, Callable[..., dict[str, Timed]], dict[str, float | None]]] = {
    "one_shot": (f"{NUM_TASKS} tasks of {NUM_WAYS} classes", one_shot, {"bare": 1.5}),
    "retrieval": (f"search scores of {NUM_IMAGES:,} images", retrieval, {"bare": 1.5}),
    "folder": ("an epoch over a folder of pictures, after the first", folder, {"decode": 0.1}),
}
