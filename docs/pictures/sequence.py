"""Draws who says what to whom, from top to bottom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from docs.pictures.svg import arrow, box, text

_LEFT, _TOP, _STEP, _HEAD = 20.0, 20.0, 44.0, 40.0
_WIDTH = 150.0
"""Of an actor's box."""


@dataclass(frozen=True)
class Says:
    """A message from one actor to another, by their numbers; `dashed` for an answer."""

    who: int
    whom: int
    words: str
    dashed: bool = False
    colour: str = "ink"


@dataclass(frozen=True)
class Note:
    """Something that happens at one actor, or between all of them."""

    at: int
    words: str
    colour: str = "secret"


def size(actors: Sequence[str], steps: Sequence[Says | Note], gap: float) -> tuple[float, float]:
    """Width and height of the picture."""
    return 2 * _LEFT + _WIDTH + gap * (len(actors) - 1), 2 * _TOP + _HEAD + _STEP * (len(steps) + 0.5)


def elements(actors: Sequence[str], steps: Sequence[Says | Note], gap: float) -> Iterator[str]:
    """The picture; `gap` is how far from one actor to the next."""
    _, height = size(actors, steps, gap)
    middle = [_LEFT + _WIDTH / 2 + gap * number for number in range(len(actors))]
    for number, actor in enumerate(actors):
        x = middle[number]
        yield f'<path d="M{x:g} {_TOP + _HEAD:g} V{height - _TOP:g}" stroke="{{line}}" stroke-dasharray="3 4"/>'
        yield box(x - _WIDTH / 2, _TOP, _WIDTH, _HEAD)
        yield text(x, _TOP + 25, actor, size=14, weight=600, anchor="middle")
    for row, step in enumerate(steps):
        y = _TOP + _HEAD + _STEP * (row + 1)
        yield from _note(step, middle[step.at], y) if isinstance(step, Note) else _message(step, middle, y)


def _message(said: Says, middle: Sequence[float], y: float) -> Iterator[str]:
    start, end = middle[said.who], middle[said.whom]
    aside = 4 if end > start else -4
    yield arrow([(start + aside, y), (end - aside, y)], dashed=said.dashed)
    yield text((start + end) / 2, y - 8, said.words, size=12.5, colour=said.colour, anchor="middle")


def _note(note: Note, x: float, y: float) -> Iterator[str]:
    width = 7.1 * len(note.words) + 20
    yield box(x - width / 2, y - 24, width, 30, fill=f"{note.colour}_fill", stroke=note.colour)
    yield text(x, y - 4.5, note.words, size=12.5, anchor="middle")
