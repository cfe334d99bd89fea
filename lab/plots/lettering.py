"""Texts that print as they are, whatever is in a class name, and that keep within their place."""

import functools
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.textpath import TextToPath

FALLBACKS = (  # for scripts that DejaVu Sans, which comes with matplotlib, does not have; used where they are installed
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
)


@functools.cache
def font_families() -> list[str]:
    """Return the font families that texts are set in, the first that has a character setting it."""
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]


def readable(text: object) -> str:
    r"""Return a text on one line in which every character can be drawn.

    One that no installed font has is spelled as Python spells it, such as ``\u65e5``: an empty box would tell no two names
    apart.
    """
    return "".join(_drawable(character) for character in " ".join(str(text).split()))


@functools.lru_cache(maxsize=4096)
def _drawable(character: str) -> str:
    if character.isprintable() and any(get_font(path).get_char_index(ord(character)) for path in _font_files()):
        return character
    return character.encode("unicode_escape").decode()


@functools.cache
def _font_files() -> list[str]:
    return [str(findfont(name)) for name in font_families()]


def class_name(class_names: Sequence[str], index: int) -> str:
    """Return the name of a class, or its number where it has none."""
    return readable(class_names[index]) if 0 <= index < len(class_names) else f"class {index}"


def shortened(text: str, length: int) -> str:
    """Return a text of at most ``length`` characters, its middle left out where it is longer: names often end differently."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return text[: length - 1 - tail] + "…" + text[len(text) - tail :]


def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Return the width in inches of a text at a font size in points."""
    font = FontProperties(family=font_families(), size=size, weight=weight)
    return float(TextToPath().get_text_width_height_descent(text, font, False)[0]) / 72


def fitted(text: object, inches: float, size: float, lines: int = 1, weight: str = "normal") -> str:
    """Return a text broken into at most ``lines`` lines of a width in inches, what is too long being left out.

    A line breaks at a blank; a word that is too long by itself is shortened in its middle.
    """
    words = [_narrowed(word, inches, size, weight) for word in readable(text).split(" ")]
    rows = [words[0]]
    for word in words[1:]:
        if width_of(f"{rows[-1]} {word}", size, weight) <= inches:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], _narrowed(" ".join(rows[lines - 1 :]), inches, size, weight)]
    return "\n".join(rows)


def _narrowed(text: str, inches: float, size: float, weight: str) -> str:
    """Shorten a text in its middle until it is no wider than so many inches."""
    length = len(text)
    while length > 1 and width_of(shortened(text, length), size, weight) > inches:
        length = min(length - 1, int(length * 0.95))
    return shortened(text, length)


def counted(number: int, word: str) -> str:
    """Return a number with what it counts, such as ``1 image`` or ``4,000 images``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}{'es' if word.endswith(('ss', 'x')) else 's'}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share in [0, 1] in percent; one that is not a number as ``unknown``, one too small to be seen as ``< 0.1 %``."""
    if share != share:
        return "unknown"
    least = 10.0**-digits
    return f"< {least:g} %" if 0 < 100 * share < least else f"{100 * share:.{digits}f} %"
