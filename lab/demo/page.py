"""The page: what is shown where, and what happens with a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio
import torch
from torch import Tensor

from lab.apply.embed import EmbeddedFolder
from lab.apply.trained import Trained
from lab.data.pictures import decode
from lab.demo import words

NUM_NEAREST, NUM_CLASSES = 8, 5
SEEN_AT = 224  # side in pixels that what the network sees is shown at, at least
SHOWN_AT = 256
TWO_PICTURES, ONE_PICTURE = "Drop a picture into each of the two fields.", "Drop a picture."
NO_GALLERY = "There are no pictures to search in: start the page with them, as in demo.py CKPT --gallery ~/pictures."
Answer = tuple[Any, ...]


def page(trained: Trained, gallery: EmbeddedFolder | None, uploads: Path) -> gradio.Blocks:
    """Make the page of a model.

    Args:
        trained: what is tried.
        gallery: what look-alikes are found in; None for no such pictures.
        uploads: the folder of uploaded files; nothing else is read.
    """
    channels, height, width = trained.preparation.image_shape
    title = f"Try a {trained.family}"
    blocks: gradio.Blocks
    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(300, 600)) as blocks:
        kind = "grey" if channels == 1 else "colour"
        gradio.Markdown(
            f"# {title}\nThe network sees pictures of {height} x {width} pixels in {kind}, whatever is dropped here."
        )
        if trained.classifies:
            _class_part(trained, uploads)
        else:
            with gradio.Tab("Compare two pictures"):
                _pair_part(trained, uploads)
            with gradio.Tab("Find look-alikes"):
                _search_part(trained, gallery, uploads)
    return blocks


def _pair_part(trained: Trained, uploads: Path) -> None:
    fields = []
    with gradio.Row():
        for which in ("First", "Second"):
            with gradio.Column():
                fields.append((_upload(f"{which} picture"), _seen("As the network sees it")))
    answer = gradio.HTML(words.hint(TWO_PICTURES), elem_id="answer")
    (first, first_seen), (second, second_seen) = fields

    def compare(one: Any, other: Any) -> Answer:
        (first_image, first_wrong), (second_image, second_wrong) = (
            _read(trained, sent, uploads, which) for sent, which in ((one, "The first picture"), (other, "The second picture"))
        )
        shown = _enlarged(first_image), _enlarged(second_image)
        if first_image is None or second_image is None:
            return (*shown, first_wrong + second_wrong or words.hint(TWO_PICTURES))
        one, other = trained.embed(torch.stack([first_image, second_image])).split(1)
        judged = trained.judge(trained.distances(one, other))
        return (*shown, words.verdict(judged.distances.item(), trained.threshold, judged.probability.item()))

    for upload in (first, second):
        _when_changed(upload, compare, [first, second], [first_seen, second_seen, answer])


def _search_part(trained: Trained, gallery: EmbeddedFolder | None, uploads: Path) -> None:
    if gallery is None:
        gradio.HTML(words.hint(NO_GALLERY), elem_id="search-answer")
        return
    searched: EmbeddedFolder = gallery
    with gradio.Row():
        query, seen = _upload("Picture"), _seen("As the network sees it")
    skipped = f"; {len(gallery.skipped):,} could not be read" if gallery.skipped else ""
    answer = gradio.HTML(words.hint(f"{len(gallery.files):,} pictures are searched{skipped}."), elem_id="search-answer")
    found = gradio.Gallery(
        label="Nearest first, with distances",
        columns=4,
        object_fit="contain",
        height=560,
        interactive=False,
        buttons=[],
        format="png",
    )

    def search(sent: Any) -> Answer:
        image, wrong = _read(trained, sent, uploads, "The picture")
        if image is None:
            return None, [], wrong or words.hint(ONE_PICTURE)
        query = trained.embed(image.unsqueeze(0)).expand_as(searched.embeddings)
        distances, places = trained.distances(query, searched.embeddings).sort(stable=True)
        nearest = [
            (searched.files[place], distance)
            for place, distance in zip(places[:NUM_NEAREST].tolist(), distances.tolist(), strict=False)
        ]
        pictures = [(_original(searched.folder / file), f"{file}, {distance:.3f}") for file, distance in nearest]
        shown = [(picture, caption) for picture, caption in pictures if picture is not None]
        return _enlarged(image), shown, words.hint(f"The nearest is {nearest[0][0]}, at distance {nearest[0][1]:.3f}.")

    _when_changed(query, search, [query], [seen, found, answer])


def _class_part(trained: Trained, uploads: Path) -> None:
    with gradio.Row():
        upload, seen = _upload("Picture"), _seen("As the network sees it")
    answer = gradio.HTML(words.hint(ONE_PICTURE), elem_id="answer")
    classes = gradio.Label(label="Most probable classes", num_top_classes=NUM_CLASSES, elem_id="classes")

    def classify(sent: Any) -> Answer:
        image, wrong = _read(trained, sent, uploads, "The picture")
        if image is None:
            return None, None, wrong or words.hint(ONE_PICTURE)
        values = trained.classify(image.unsqueeze(0))[0].tolist()
        probabilities = {trained.name_of(label): value for label, value in enumerate(values)}
        best = max(probabilities, key=probabilities.__getitem__)
        told = f"Most probably {best}: {words.percent(probabilities[best])}. It knows no classes but those it was trained on."
        return _enlarged(image), probabilities, words.hint(told)

    _when_changed(upload, classify, [upload], [seen, classes, answer])


def _read(trained: Trained, sent: Any, uploads: Path, which: str) -> tuple[Tensor | None, str]:
    """Read an uploaded picture as the network sees it; where it cannot be, say why."""
    if not isinstance(sent, dict) or not sent.get("path"):
        return None, ""
    path = Path(str(sent["path"])).resolve()
    if not path.is_relative_to(uploads.resolve()):  # a page of somebody else's could name any file
        return None, words.error(f"{which} was not uploaded here.")
    try:
        return trained.preparation.read(path), ""
    except ValueError as said:
        return None, words.refusal(said, which)


def _original(path: Path) -> Any:
    """Return a picture of the gallery in a size to look at, or None where it has gone since."""
    try:
        return decode(path, SHOWN_AT, "pad").permute(1, 2, 0).numpy()
    except (ValueError, OSError):
        return None


def _enlarged(image: Tensor | None) -> Any:
    """Return what the network sees, with its pixels as squares, (height, width, 3)."""
    if image is None:
        return None
    times = max(1, -(-SEEN_AT // max(image.shape[1:])))
    large = image.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return large.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def _upload(label: str) -> gradio.Image:
    return gradio.Image(label=label, sources=["upload", "clipboard"], type="filepath", image_mode=None, height=220, buttons=[])


def _seen(label: str) -> gradio.Image:
    return gradio.Image(label=label, interactive=False, height=220, format="png", buttons=[])


def _when_changed(upload: gradio.Image, answer: Callable[..., Answer], inputs: list[Any], outputs: list[Any]) -> None:
    # Without preprocessing, in which Gradio would open the file itself, by whatever format, and not say what is wrong.
    for event in (upload.upload, upload.clear):
        event(told(answer, len(outputs)), inputs, outputs, preprocess=False, show_progress="hidden", api_visibility="private")


def told(answer: Callable[..., Answer], num_outputs: int) -> Callable[..., Answer]:
    """Return an answer that says in its last output what is wrong, where a model cannot answer."""

    def answered(*sent: Any) -> Answer:
        try:
            return answer(*sent)
        except ValueError as error:
            return (*[None] * (num_outputs - 1), words.error(str(error)))

    return answered
