"""What the service makes of the log of a gate, whatever bytes it has."""

import json
from collections.abc import Mapping

from k8s_mcp.cluster.gate_record import MOST_CHANGES, GateRecord
from k8s_mcp.recorded import Requests, in_words

_VERBS = {
    "get",
    "list",
    "watch",
    "head",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "post",
    "put",
    "other",
}
_RESULTS = {"ok", "error", "refused", "unanswered"}
_LONGEST = 2200
"""Of a change in words: eight texts of 256 characters."""
_MOST_SIZE = 2**20


def gate_record(data: bytes) -> None:
    """Any bytes are counts and changes, or a part that is missing; the same however they are cut, and read again.

    The first byte says whether each line is one of the gate's, whose fields the input gives, and where to cut.
    """
    number = data[0] if data else 0
    log = _numbered(data[1:]) if number & 1 else data[1:]
    cut = len(log) * (number >> 1) // 128
    record, pieces = GateRecord(), GateRecord()
    record.feed(log)
    pieces.feed(log[:cut])
    pieces.feed(log[cut:])
    said = _said(record)
    assert _said(pieces) == said
    _check(said)
    if said.complete:
        pieces.restart()
        pieces.feed(log)
        assert _said(pieces) == said, "each line counts once"
    assert record.is_whole(record.next_seq) >= said.complete
    assert not record.is_whole(record.next_seq + 1) or record.has_ended


def _numbered(fields: bytes) -> bytes:
    lines = fields.split(b"\n")
    events = [b"start", *[b"request"] * len(lines), b"end"]
    numbered = zip(events, [b'"time":"t"}', *lines, b'"requests":1}'], strict=True)
    return b"".join(
        b'{"gate":1,"seq":%d,"event":"%b",%b\n' % (seq, event, rest) for seq, (event, rest) in enumerate(numbered)
    )


def _said(record: GateRecord) -> Requests:
    return record.requests(complete=record.is_whole(None))


def _check(said: Requests) -> None:
    assert said.total == sum(said.counts.values())
    assert said.refused == sum(count for (_, result), count in said.counts.items() if result == "refused")
    assert {verb for verb, _ in said.counts} <= _VERBS, "labels of metrics are ours"
    assert {result for _, result in said.counts} <= _RESULTS
    assert len(said.changes) <= min(said.total, MOST_CHANGES)
    assert said.size <= _MOST_SIZE
    told = said.describe()
    json.dumps(told, ensure_ascii=False).encode()
    assert said.masked(str) == said
    for change in said.changes:
        line = in_words(change.describe())
        assert line.isprintable(), line
        assert len(line) < _LONGEST, "short enough for a model, and for a terminal"


WORDS = [
    *(
        f'"{name}":'.encode()
        for name in ("gate", "seq", "event", "time", "context", "verb", "group", "resource", "subresource", "refused")
    ),
    *(f'"{name}":'.encode() for name in ("namespace", "name", "path", "code", "dry_run")),
    *(
        word.encode()
        for word in ("start", "request", "end", "true", "false", "null", "403", "create", "exec", "proxy")
    ),
    *(
        b"selfsubjectaccessreviews",
        b"authorization.k8s.io",
        b"\n",
        b"\\u202e",
        b"\\ud800",
        b'{"gate":1,"seq":0,"event":"',
    ),
]


def seeds() -> list[bytes]:
    """Lines as gates write them: whole, without one, of two gates; and only their fields, which get numbers."""
    said = {"time": "2026-11-29T10:00:00.000Z", "context": "prod", "verb": "patch", "group": "apps"}
    said |= {"resource": "deployments", "subresource": "scale", "namespace": "shop", "name": "web"}
    ways: list[Mapping[str, object]] = [
        {"code": 200, "dry_run": False, "sent": 61, "received": 2310, "duration": 0.0123},
        {"code": 0, "dry_run": True},
        {"verb": "get", "subresource": "exec", "code": 403, "dry_run": False, "refused": "team-a: deny[0]"},
        {"verb": "PUT", "resource": "", "path": "//x\u202e\n", "code": 400, "dry_run": False, "refused": "form"},
        {"verb": "create", "group": "authorization.k8s.io", "resource": "selfsubjectaccessreviews"}
        | {"code": 201, "dry_run": False},
    ]
    fields = [json.dumps({**said, **way}, separators=(",", ":")).encode()[1:] for way in ways]
    whole = [b'{"gate":1,"seq":%d,"event":"request",%b' % (seq, line) for seq, line in enumerate(fields, 1)]
    start = b'{"gate":1,"seq":0,"event":"start","time":"%b","contexts":[]}'
    end = b'{"gate":1,"seq":6,"event":"end","time":"c","requests":5,"refusals":2}\n'
    logs = [
        [start % b"a", *whole, end],
        [start % b"a", *whole[1:], end],
        [start % b"a", whole[0], start % b"b", b"gate: it complains", *whole, end],
    ]
    return [b"\x40" + b"\n".join(log) for log in logs] + [b"\x81" + b"\n".join(fields), b"\1" + fields[0]]
