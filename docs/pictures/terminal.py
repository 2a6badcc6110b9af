"""Draws a recording in asciinema's format: the lines that stay, each when it was there as a whole."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.pictures.svg import box, text

_LINE, _LETTER, _SIZE = 20.0, 7.85, 13.0
_LEFT, _TOP = 20.0, 62.0
_PAUSE = 6.0
"""Seconds before it begins again."""
_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PROMPT = "$ "


@dataclass(frozen=True)
class Line:
    """A line that stays, and the second of its end."""

    at: float
    words: str


def lines(cast: Path) -> list[Line]:
    """What is on the screen at the end. Lines that were erased are not, and colours are left out."""
    _, *events = [json.loads(line) for line in cast.read_text().splitlines()]
    found: list[Line] = []
    open_line = ""
    for at, _, piece in events:
        *whole, open_line = (open_line + piece).split("\r\n")
        found += [Line(at, _SEQUENCE.sub("", words.rpartition("\r\x1b[K")[2])) for words in whole]
    return found


def elements(cast: Path, columns: int) -> tuple[float, float, list[str]]:
    """Width, height, and the picture's elements."""
    shown = [Line(line.at, piece) for line in lines(cast) for piece in _folded(line.words, columns)]
    width, height = 2 * _LEFT + columns * _LETTER, _TOP + _LINE * len(shown) + 8
    return width, height, [*_drawn(shown, width, height)]


def _folded(words: str, columns: int) -> Iterator[str]:
    """As a terminal breaks what is longer than its width."""
    yield from (words[start : start + columns] for start in range(0, max(1, len(words)), columns))


def _drawn(shown: list[Line], width: float, height: float) -> Iterator[str]:
    whole = shown[-1].at + _PAUSE
    yield (
        "<style>"
        + "".join(_appears(number, line.at / whole, whole) for number, line in enumerate(shown))
        + "</style>"
    )
    yield box(1, 1, width - 2, height - 2)
    yield "".join(f'<circle cx="{_LEFT + 4 + 18 * each:g}" cy="22" r="5.5" fill="{{line}}"/>' for each in range(3))
    for number, line in enumerate(shown):
        yield f'<g class="l{number}">{_words(line.words, _TOP + _LINE * number)}</g>'


def _words(words: str, y: float) -> str:
    if words.startswith(_PROMPT):
        prompt = text(_LEFT, y, "$", size=_SIZE, colour="good", weight=700, mono=True)
        return prompt + text(_LEFT + 2 * _LETTER, y, words[2:], size=_SIZE, weight=600, mono=True)
    own = words.startswith(("k8s-mcp:", "Warning:", "Error "))
    return text(_LEFT, y, words, size=_SIZE, colour="secret" if own else "ink", mono=True)


def _appears(number: int, share: float, whole: float) -> str:
    """Braces that are no colours: CSS's own. Who wants no motion sees all of it at once."""
    keys = f"@keyframes k{number}{{0%,{100 * share:.2f}%{{opacity:0}}{100 * share + 0.01:.2f}%,100%{{opacity:1}}}}"
    used = f".l{number}{{animation:k{number} {whole:.1f}s infinite}}"
    return f"@media (prefers-reduced-motion: no-preference){{{keys}{used}}}"
