"""Masks a run's credentials in its output: the second guard, isolation being the first.

It finds exact values, their base64 (also inside longer base64) and, for values that are base64, what they decode to.
It is no barrier against a command that wants to disguise them.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator

MASK = b"[redacted]"
MIN_BYTES = 8
"""Shorter values are left alone: masking them would garble ordinary output and protect nothing."""
MAX_VALUES = 400
"""Most forms looked for in one run's output; the values themselves come first."""


class Redactor:
    """Replaces every form of the given credential values by `MASK`."""

    def __init__(self, values: Iterable[str]) -> None:
        given = [value.encode() for value in values]
        found = dict.fromkeys(line for value in given for line in _lines(value))
        found |= dict.fromkeys(form for value in given for form in _forms(value))
        self._values = sorted(list(found)[:MAX_VALUES], key=lambda value: (-len(value), value))

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def apply(self, data: bytes) -> bytes:
        """`data`, whole lines, with every value masked."""
        for value in self._values:
            if value in data:
                data = data.replace(value, MASK)
        return data

    def mask(self, text: str) -> str:
        """`text` with every value masked."""
        return self.apply(text.encode()).decode("utf-8", "replace")

    def open_end(self, data: bytes) -> int:
        """How many bytes at the end of `data`, part of a line, must wait for what follows: a value may begin there.

        No value that `apply` finds in `data` is cut by that.
        """
        cut = len(data)
        for value in self._values:
            if value in data:
                # Of those that overlap, the first is masked. No line and no value has a line end in it.
                data = data[:cut].replace(value, b"\n" * len(value)) + data[cut:]
                across = data.find(value, max(cut - len(value) + 1, 0), cut + len(value) - 1)
                cut = across if across >= 0 else cut
            start = data.find(value[:1], max(len(data) - len(value) + 1, 0), cut)
            while start >= 0:
                if value.startswith(data[start:]):
                    cut = start
                    break
                start = data.find(value[:1], start + 1, cut)
        return len(data) - cut


def _forms(value: bytes) -> Iterator[bytes]:
    """The byte strings that give `value` away, none with a line end in it: output is searched line by line."""
    for text in (value, *_decoded(value)):
        yield from (line for line in _lines(text))
        for alphabet in (b"+/", b"-_"):
            for skip in range(3):
                # base64 works on groups of three bytes; inside a longer text a value can begin at any place in a
                # group
                whole = text[skip : skip + (len(text) - skip) // 3 * 3]
                yield from _lines(base64.b64encode(whole, altchars=alphabet))


def _decoded(value: bytes) -> Iterator[bytes]:
    try:
        yield base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return


def _lines(text: bytes) -> Iterator[bytes]:
    for line in map(bytes.strip, text.replace(b"\r", b"\n").split(b"\n")):
        if len(line) >= MIN_BYTES and not line.startswith((b"-----BEGIN ", b"-----END ")):
            yield line
