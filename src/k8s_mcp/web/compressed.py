"""A stream in gzip, for who asks for it: each piece is flushed, so that what was written can be read at once.

Its window and its tables are small: a thousand followers are to cost megabytes, and events repeat themselves soon.
"""

import re
import zlib

_LEVEL = 1
_GZIP, _WINDOW, _MEMORY = 16, 13, 6  # 2^(13 + 2) and 2^(6 + 9) bytes: zlib.h
_NOT_AT_ALL = re.compile(r"q=0(\.0*)?$")


def asked_for(accept_encoding: str) -> bool:
    """Whether a client names gzip as what it takes: RFC 9110, section 12.5.3."""
    for part in accept_encoding.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() in {"gzip", "x-gzip"}:
            return not _NOT_AT_ALL.match(quality.strip())
    return False


class Gzip:
    """The compressed form of one stream."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP + _WINDOW, _MEMORY)

    def piece(self, data: bytes) -> bytes:
        """What says all of `data`, without anything that comes behind it."""
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._deflate.flush()
