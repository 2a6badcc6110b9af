"""Standard input, output and error as file descriptors: what a command's output needs, byte for byte."""

import os
import select
import sys
from contextlib import suppress

from k8s_mcp.cli.tell import printable

FILES = {"stdout": 1, "stderr": 2}
"""The descriptor of each of a run's streams."""


def write(file: int, data: bytes) -> None:
    """All of `data`. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:  # whoever started us has made it non-blocking
            select.select([], [file], [])


def tell(text: str) -> None:
    """A line of our own on stderr. What a server says must not steer the terminal."""
    line = printable(f"k8s-mcp: {text}")
    with suppress(OSError):  # if nobody is there to be told
        write(FILES["stderr"], line.encode(errors="replace") + b"\n")


def open_all() -> None:
    """Whoever started us may have closed some: the next socket would get such a number, and our output with it."""
    for file in (0, 1, 2):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.platform == "win32":  # where a descriptor else writes each LF as CR LF
        import msvcrt

        for file in FILES.values():
            msvcrt.setmode(file, os.O_BINARY)
