import io
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lab.data import picture_store, pictures
from lab.data.arrays import ImageArrays
from lab.data.picture_store import decode_all
from lab.data.pictures import Fit, decode

FORMATS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "PPM": "ppm"}
Array = np.ndarray[Any, np.dtype[Any]]


def _gradient(height: int = 24, width: int = 40) -> Image.Image:
    """Make a picture none of whose turned or mirrored forms is like another."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blue = np.zeros((height, width))
    blue[: height // 3, : width // 4] = 255
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def _noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).view(image.height, image.width, -1).permute(2, 0, 1)


def _refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ValueError) as refusal:
        decode(path, 8, **options)
    message = str(refusal.value)
    assert message.startswith(f"{path} cannot be read: ")
    assert "\n" not in message
    return message.removeprefix(f"{path} cannot be read: ")


def _palette_with_transparency() -> Image.Image:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
    image.info["transparency"] = 1
    return image


ZOO: dict[str, tuple[Image.Image, str, tuple[int, int, int]]] = {
    "grey": (Image.new("L", (9, 9), 90), "a.png", (90, 90, 90)),
    "colour": (Image.new("RGB", (9, 9), (10, 200, 30)), "a.png", (10, 200, 30)),
    "1 bit": (Image.new("1", (9, 9), 1), "a.png", (255, 255, 255)),
    "1 bit TIFF": (Image.new("1", (9, 9), 0), "a.tif", (0, 0, 0)),
    "opaque RGBA": (Image.new("RGBA", (9, 9), (10, 200, 30, 255)), "a.png", (10, 200, 30)),
    "half transparent RGBA": (Image.new("RGBA", (9, 9), (0, 100, 255, 51)), "a.png", (204, 224, 255)),
    "transparent RGBA": (Image.new("RGBA", (9, 9), (1, 2, 3, 0)), "a.webp", (255, 255, 255)),
    "transparent grey": (Image.new("LA", (9, 9), (0, 51)), "a.png", (204, 204, 204)),
    "palette": (Image.new("RGB", (9, 9), (10, 200, 30)).quantize(), "a.png", (10, 200, 30)),
    "palette with transparency": (_palette_with_transparency(), "a.png", (255, 255, 255)),
    "GIF with transparency": (_palette_with_transparency(), "a.gif", (255, 255, 255)),
    "CMYK": (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "a.tif", (255, 0, 0)),
    "16-bit grey": (Image.fromarray(np.full((9, 9), 25_700, np.uint16)), "a.png", (100, 100, 100)),
    "16-bit grey TIFF": (Image.fromarray(np.full((9, 9), 25_700, np.uint16)), "a.tif", (100, 100, 100)),
    "16-bit grey PGM": (Image.fromarray(np.full((9, 9), 25_700, np.uint16)), "a.pgm", (100, 100, 100)),
    "lossless WebP": (Image.new("RGB", (9, 9), (10, 200, 30)), "a.webp", (10, 200, 30)),
    "plain BMP": (Image.new("RGB", (9, 9), (10, 200, 30)), "a.bmp", (10, 200, 30)),
}


@pytest.mark.parametrize("kind", ZOO)
def test_a_picture_of_any_kind_becomes_colour_or_grey(kind: str, tmp_path: Path) -> None:
    image, name, colour = ZOO[kind]
    image.save(tmp_path / name, lossless=True)  # which says something of WebP only
    coloured = decode(tmp_path / name, 5)
    assert coloured.dtype == torch.uint8
    assert coloured.is_contiguous()
    assert torch.equal(coloured, torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, 5, 5))
    grey = torch.from_numpy(np.array(Image.new("RGB", (5, 5), colour).convert("L"))).unsqueeze(0)
    assert torch.equal(decode(tmp_path / name, 5, channels=1), grey)


def test_a_jpeg_in_cmyk_is_read_in_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (9, 9), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert (decode(tmp_path / "a.jpg", 5).int() - torch.tensor([255, 0, 0]).view(3, 1, 1)).abs().max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.png"])
def test_an_animated_picture_gives_its_first_frame(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(tmp_path / name, 4)[:, 0, 0].tolist() == [250, 0, 0]


def test_a_telephones_jpeg_of_several_pictures_gives_the_first(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "white").save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))]
    )
    assert decode(tmp_path / "a.jpg", 4).min() == 255


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bits_are_scaled_by_their_range_as_numpy_does_it(name: str, tmp_path: Path) -> None:
    values = np.linspace(0, 65_535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / name)
    expected = (values.astype(np.float64) / 65_535 * 255).round().astype(np.uint8)
    assert np.array_equal(decode(tmp_path / name, 64, channels=1)[0].numpy(), expected)


def test_16_bits_with_the_high_byte_first_are_read_as_such(tmp_path: Path) -> None:
    values = np.full((4, 4), 25_700, ">u2")
    entries = [(256, 3, 4), (257, 3, 4), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 200), (278, 3, 4), (279, 4, 32)]
    header = b"MM" + struct.pack(">HIH", 42, 8, len(entries))
    for tag, kind, value in entries:
        header += struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
    (tmp_path / "a.tif").write_bytes(header.ljust(200, b"\0") + values.tobytes())
    assert decode(tmp_path / "a.tif", 4).unique().tolist() == [100]


@pytest.mark.parametrize("values", [np.full((4, 4), 70_000, np.int32), np.full((4, 4), 0.5, np.float32)], ids=["int", "float"])
def test_pixels_of_32_bits_are_refused_as_their_range_is_not_known(values: Array, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert "save it with 8 or 16" in _refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_a_picture_is_turned_as_the_camera_was_held(orientation: int, name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _gradient().save(tmp_path / name, exif=exif)
    with Image.open(tmp_path / name) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert upright.size == ((40, 24) if orientation < 5 else (24, 40))
    assert torch.equal(decode(tmp_path / name, 20, "squash"), _pixels(upright.resize((20, 20), Image.Resampling.BILINEAR)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_notes_of_a_camera_that_cannot_be_read_make_no_broken_picture(tmp_path: Path) -> None:
    _gradient().save(tmp_path / "plain.png")
    _gradient().save(tmp_path / "noted.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 30)
    assert torch.equal(decode(tmp_path / "noted.png", 9), decode(tmp_path / "plain.png", 9))


def test_crop_takes_the_middle_squash_all_and_pad_adds_black(tmp_path: Path) -> None:
    stripes = np.repeat(np.array([0, 50, 100, 150, 200, 250], np.uint8), 4)[None].repeat(8, 0)  # 8 x 24, six stripes 4 wide
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    Image.fromarray(stripes.T).save(tmp_path / "tall.png")
    wide, tall = decode(tmp_path / "wide.png", 8, "crop", 1), decode(tmp_path / "tall.png", 8, "crop", 1)
    assert wide[0].tolist() == [[100, 100, 100, 100, 150, 150, 150, 150]] * 8
    assert torch.equal(wide[0], tall[0].T)
    wide, tall = decode(tmp_path / "wide.png", 6, "squash", 1), decode(tmp_path / "tall.png", 6, "squash", 1)
    assert (wide[0, 0].int() - torch.arange(0, 251, 50)).abs().max() <= 12  # neighbours are mixed in a little
    assert torch.equal(wide[0], tall[0].T)
    Image.new("L", (24, 6), 255).save(tmp_path / "white.png")
    padded = decode(tmp_path / "white.png", 8, "pad", 1)
    assert padded[0].tolist() == [[0] * 8] * 3 + [[255] * 8] * 2 + [[0] * 8] * 3


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 500)])
def test_the_oddest_shapes_become_squares(shape: tuple[int, int], fit: Fit, tmp_path: Path) -> None:
    Image.new("RGB", shape, "white").save(tmp_path / "a.png")
    square = decode(tmp_path / "a.png", 16, fit)
    assert square.shape == (3, 16, 16)
    assert square.max() == 255


def test_what_is_too_fine_to_be_seen_becomes_its_mean(tmp_path: Path) -> None:
    fine = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(fine).save(tmp_path / "a.png")
    assert (decode(tmp_path / "a.png", 16, channels=1).float() - 127.5).abs().max() <= 2


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_a_large_jpeg_is_decoded_coarser_with_nearly_the_same_result(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gradient(400, 700).save(tmp_path / "a.jpg", quality=95)
    coarse = decode(tmp_path / "a.jpg", 24, fit)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    assert (coarse.int() - decode(tmp_path / "a.jpg", 24, fit).int()).abs().float().mean() < 1


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", data)


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_001), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    (tmp_path / "bomb.png").write_bytes(_png(width, height))
    with pytest.MonkeyPatch.context() as context:
        context.setattr("warnings.warn", lambda *_, **__: None)
        assert "pixels" in _refusal(tmp_path / "bomb.png")


def test_how_many_pixels_are_too_many_can_be_said(tmp_path: Path) -> None:
    _gradient(10, 10).save(tmp_path / "a.png")
    assert _refusal(tmp_path / "a.png", max_pixels=99) == "it has 10 x 10 pixels, more than the 99 allowed: make it smaller"
    decode(tmp_path / "a.png", 4, max_pixels=100)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"My holiday, day one.\n" * 9, "it is no JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "it is no JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "it is no JPEG, PNG"),
        (b"%PDF-1.7\n", "it is no JPEG, PNG"),
        (_png(9, 9), "truncated"),
    ],
    ids=["nothing", "text", "a program in PostScript", "SVG", "PDF", "a PNG without pixels"],
)
def test_what_is_no_picture_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "ein schönes Bild.png"
    path.write_bytes(content)
    assert reason in _refusal(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "a.png") == "No such file or directory"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "PPM"])
def test_a_picture_that_was_cut_short_is_named(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"a.{FORMATS[kind]}"
    _noise(60, 80).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert _refusal(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_whatever_is_wrong_with_a_file_is_one_line_or_still_a_picture(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    _gradient().save(buffer, kind)
    path = tmp_path / f"a.{FORMATS[kind]}"
    for _ in range(60):
        content = bytearray(buffer.getvalue())
        for place in random.integers(0, min(len(content), 400), 4):
            content[place] = random.integers(256)
        path.write_bytes(content[: random.integers(len(content) // 2, 2 * len(content))])
        try:
            assert decode(path, 8).shape == (3, 8, 8)
        except ValueError as error:
            assert str(error).startswith(f"{path} cannot be read: ")
            assert "\n" not in str(error)


def _some(folder: Path, num: int = 20) -> tuple[list[Path], list[int]]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(num)]
    for i, path in enumerate(paths):
        Image.new("RGB", (6 + i, 9), (i, 255 - i, 7)).save(path)
    return paths, [i % 2 for i in range(num)]


def test_the_store_is_byte_for_byte_what_saving_the_arrays_writes(tmp_path: Path) -> None:
    paths, labels = _some(tmp_path / "pictures")
    names = ["Maß, 'groß'", '日本 "b"\\']
    decode_all(paths, labels, names, tmp_path / "cache" / "ours.safetensors", 5)
    ImageArrays(torch.stack([decode(path, 5) for path in paths]), torch.tensor(labels), names).save(
        tmp_path / "theirs.safetensors"
    )
    assert (tmp_path / "cache" / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    loaded = ImageArrays.load(tmp_path / "cache" / "ours.safetensors")
    assert loaded.class_names == names
    assert loaded.labels.tolist() == labels
    assert loaded[:][0][:, 0, 2, 2].tolist() == list(range(20))


@pytest.mark.parametrize("workers", [1, 3, 16, None])
def test_pictures_keep_their_order_however_many_threads_decode_them(
    workers: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path, *options: Any) -> Tensor:
        time.sleep(0.01 * (int(path.stem) % 3 == 0))
        return decode(path, *options)

    monkeypatch.setattr(picture_store, "decode", slowly)
    monkeypatch.setattr("os.cpu_count", lambda: workers)
    paths, labels = _some(tmp_path / "pictures", 40)
    decode_all(paths, labels, ["a", "b"], tmp_path / "store.safetensors", 5, "pad", 1)
    assert torch.equal(
        ImageArrays.load(tmp_path / "store.safetensors")[:][0], torch.stack([decode(path, 5, "pad", 1) for path in paths])
    )


def test_only_a_few_pictures_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    pulled = 0

    def endless() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield Path("a.png")

    results = picture_store._in_parallel(str, endless())
    for _ in range(100):
        next(results)
    results.close()
    assert pulled <= 100 + 2 * 32


def test_all_broken_files_are_told_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    paths, labels = _some(tmp_path / "pictures")
    for i in (3, 5, 11, 17, 18):
        paths[i].write_bytes(b"" if i == 5 else paths[i].read_bytes()[:-30])
    with pytest.raises(ValueError) as refusal:
        decode_all(paths, labels, ["a", "b"], tmp_path / "cache" / "store.safetensors", 5)
    message = str(refusal.value)
    assert message.startswith(f"5 of 20 pictures are to be mended or removed: {paths[3]} cannot be read: ")
    assert f"; {paths[5]} cannot be read: it is empty; {paths[11]} cannot be read: " in message
    assert message.endswith("; and 2 more: scripts/check_data.py names all")
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_reading_leaves_nothing(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path, *options: Any) -> Tensor:
        if path.stem == "7":
            raise error
        return decode(path, *options)

    paths, labels = _some(tmp_path / "pictures")
    monkeypatch.setattr(picture_store, "decode", interrupt)
    with pytest.raises(error):
        decode_all(paths, labels, ["a", "b"], tmp_path / "cache" / "store.safetensors", 5)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_many_writers_at_once_leave_one_whole_store(tmp_path: Path) -> None:
    paths, labels = _some(tmp_path / "pictures")
    store = tmp_path / "cache" / "store.safetensors"
    threads = [threading.Thread(target=decode_all, args=(paths, labels, ["a", "b"], store, 5)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in store.parent.iterdir()] == [store.name]
    assert torch.equal(ImageArrays.load(store)[:][0], torch.stack([decode(path, 5) for path in paths]))


def test_how_far_it_is_is_one_line_or_a_bar_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, labels = _some(tmp_path / "pictures")
    store = tmp_path / "store.safetensors"
    decode_all(paths, labels, ["a", "b"], store, 5)
    assert capsys.readouterr() == ("", f"reading 20 pictures into {store}\n")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    decode_all(paths, labels, ["a", "b"], store, 5)
    assert "reading pictures" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_every_ending_is_of_a_format_that_is_read() -> None:
    known = Image.registered_extensions()
    assert {known[ending] for ending in pictures.ENDINGS if ending in known} <= set(pictures.FORMATS)
