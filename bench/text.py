"""Texts to send through the service, and whether they arrived."""

import base64
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from k8s_mcp.client.event_source import Control, EventSource, Lines

_NAMESPACES = ("kube-system", "default", "monitoring", "team-a", "payments")
_VERBS = ("reconciled", "synced", "scheduled", "updated status of", "failed to list", "observed")
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Text:
    """Lines that a command prints `times` times over."""

    content: bytes
    times: int = 1

    @property
    def lines(self) -> int:
        return self.content.count(b"\n") * self.times

    @property
    def size(self) -> int:
        return len(self.content) * self.times

    @property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for _ in range(self.times):
            digest.update(self.content)
        return digest.hexdigest()


def log_text(lines: int) -> Text:
    """What a controller's log looks like, about 80 bytes a line; the same text every time."""
    dice = random.Random(20260504)
    written: list[str] = []
    for number in range(lines):
        clock = f"{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.{dice.randrange(10**6):06d}Z"
        name = f"{dice.choice(_NAMESPACES)}/web-{dice.randrange(16**8):08x}"
        written.append(f"2026-05-04T{clock} {dice.choice(_VERBS)} {name} in {dice.randrange(900)}ms n={number}\n")
    return Text("".join(written).encode())


def incompressible(size: int, times: int) -> Text:
    """Base64 of what chance makes, in lines of 76 characters: the text that packs worst."""
    return Text(base64.encodebytes(random.Random(20260504).randbytes(size // 77 * 57)), times)


def check_stream(stream: Path, text: Text) -> None:
    """The event stream in that file must hold all of `text` on stdout, in order, and end well. Raises ValueError."""
    source = EventSource()
    digest = hashlib.sha256()
    last_id = 0
    end: object = None
    with stream.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            for event in source.feed(chunk):
                if isinstance(event, Control):
                    end = event.data
                    if event.data.get("status") == "gap":
                        raise ValueError(f"{stream}: lines were lost: {event.data}")
                    continue
                last_id = _next_id(event, last_id)
                digest.update(event.data)
    if end != {"status": "done", "exit_code": 0}:
        raise ValueError(f"{stream}: the stream ends with {end}")
    if last_id != text.lines or digest.hexdigest() != text.digest:
        raise ValueError(f"{stream}: {last_id} of {text.lines} lines, or in another order")


def _next_id(event: Lines, last_id: int) -> int:
    """An event's id counts the lines up to it, so ids tell whether one is missing."""
    if event.id != last_id + event.data.count(b"\n"):
        raise ValueError(f"after line {last_id} comes line {event.id}")
    return event.id
