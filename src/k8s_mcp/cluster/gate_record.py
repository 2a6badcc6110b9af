"""Reading the gate's record: gate/README.md has its lines. No I/O.

Total: whatever bytes a log has, they become counts and changes, or a part that is missing. And bounded: of endless
requests the numbers stay, and the first changes.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from k8s_mcp.recorded import Change, Requests

MOST_CHANGES = 1000
_MOST_BYTES = 2**20  # of them: more only where names are long
_CHANGE_BYTES = 600  # that one takes besides its names
_MOST_TEXT = 256  # the gate cuts to as many
_LONGEST_LINE = 2**15  # the gate's are under half of that

_LINE = re.compile(rb'\{"gate":1,"seq":(0|[1-9][0-9]{0,18}),"event":"(start|request|end)",')
_CHANGING = frozenset(("create", "update", "patch", "delete", "deletecollection", "post", "put"))
_VERBS = frozenset(("get", "list", "watch", "head", *_CHANGING))
_ACTING = frozenset(("attach", "exec", "portforward", "proxy"))  # by whatever verb
_ASKING = re.compile(r"((self|local)?subject(access|rules)?reviews|tokenreviews)\.auth(oriz|entic)ation\.k8s\.io")
_FAILED = 400


class GateRecord:
    """The record of one run's gate, of bytes that come in any pieces. When it is read again from its start, each line
    counts once.
    """

    def __init__(self) -> None:
        self.next_seq = 0
        self.has_ended = False
        """Whether its last line was read."""
        self._rest = b""
        self._began: object = None
        self._lost = False
        self._counts: Counter[tuple[str, str]] = Counter()
        self._refused = 0
        self._changes: list[Change] = []
        self._truncated = False
        self._size = 0

    def restart(self) -> None:
        """The log will be read again from its start."""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take more of the log. What is no line of the gate's is passed over."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[:_LONGEST_LINE]
        for line in lines:
            found = _LINE.match(line)
            if found and len(line) <= _LONGEST_LINE:
                self._on_line(int(found[1]), found[2], line)

    def is_whole(self, lines: int | None) -> bool:
        """Whether nothing is missing up to the last line; or up to so many, which were all when the command ended."""
        return not self._lost and (self.has_ended or (lines is not None and self.next_seq >= lines > 0))

    def requests(self, *, complete: bool) -> Requests:
        """What the record says so far."""
        return Requests(
            total=self._counts.total(),
            refused=self._refused,
            complete=complete,
            changes=tuple(self._changes),
            truncated=self._truncated,
            counts=dict(self._counts),
            size=self._size,
        )

    def _on_line(self, seq: int, event: bytes, line: bytes) -> None:
        if seq < self.next_seq and event != b"start":
            return
        try:
            said: Any = json.loads(line)
        except (ValueError, RecursionError):
            return  # its number will be missing
        if event == b"start":
            self._on_start(seq, said.get("time"))
            return
        request = _request(said) if event == b"request" else None
        if event == b"request" and request is None:
            return
        self._lost = self._lost or seq != self.next_seq
        self.next_seq = seq + 1
        if request is not None:
            self._on_request(request)
        else:
            self.has_ended = True

    def _on_start(self, seq: int, time: object) -> None:
        """Of another gate, if that of before has died: what it had not written is lost."""
        if self.next_seq and time == self._began:
            return
        self._lost = self._lost or self.next_seq > 0 or seq != 0
        self._began, self.next_seq, self.has_ended = time, seq + 1, False

    def _on_request(self, request: "_Request") -> None:
        change = request.change
        self._refused += bool(change.refused)
        verb = change.verb if change.verb in _VERBS else "other"
        self._counts[verb, request.result] += 1
        if not request.may_change:
            return
        size = _CHANGE_BYTES + sum(map(len, (change.resource, change.namespace, change.name, change.path)))
        self._truncated = self._truncated or len(self._changes) == MOST_CHANGES or self._size + size > _MOST_BYTES
        if not self._truncated:
            self._changes.append(change)
            self._size += size


@dataclass(frozen=True, slots=True)
class _Request:
    change: Change

    @property
    def result(self) -> str:
        if self.change.refused:
            return "refused"
        if self.change.code == 0:
            return "unanswered"
        return "ok" if self.change.code < _FAILED else "error"

    @property
    def may_change(self) -> bool:
        change = self.change
        if change.subresource in _ACTING:
            return True
        return change.verb in _CHANGING and not (change.verb == "create" and _ASKING.fullmatch(change.resource))


def _request(said: dict[str, Any]) -> _Request | None:
    """None for a line that the gate would not write."""
    code, dry_run = said.get("code"), said.get("dry_run")
    if type(code) is not int or not 0 <= code <= 999 or type(dry_run) is not bool:
        return None
    names = ("time", "verb", "subresource", "namespace", "name", "path", "refused")
    texts = {name: _text(said.get(name)) for name in names}
    group, resource = _text(said.get("group")), _text(said.get("resource"))
    texts["verb"] = texts["verb"].lower()  # of what could not be read it is the method
    kind = f"{resource}.{group}" if group and resource else resource
    return _Request(Change(resource=kind, code=code, dry_run=dry_run, **texts))


def _text(value: object) -> str:
    """What the command chose may go to a terminal or a model: one line, and nothing that steers."""
    if not isinstance(value, str):
        return ""
    text = value[:_MOST_TEXT]
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)
