"""Whatever bytes the gate's log has, they become counts and changes, or a part that is said to be missing."""

import json
import random
import tracemalloc
from typing import Any

import pytest

from k8s_mcp.cluster.gate_record import MOST_CHANGES, GateRecord
from k8s_mcp.recorded import Requests

START = "2026-11-29T10:00:00.000Z"


def line(seq: int, event: str = "request", **said: Any) -> bytes:
    """One as the gate writes it."""
    request = {"context": "it", "verb": "get", "group": "", "resource": "pods", "code": 200, "dry_run": False}
    rest = request if event == "request" else {}
    text = json.dumps({"gate": 1, "seq": seq, "event": event, "time": START, **rest, **said}, separators=(",", ":"))
    return text.encode() + b"\n"


def whole(count: int, **said: Any) -> bytes:
    """A record of so many requests."""
    return b"".join([line(0, "start"), *(line(n + 1, **said) for n in range(count)), line(count + 1, "end")])


def read(*parts: bytes) -> GateRecord:
    record = GateRecord()
    for part in parts:
        record.feed(part)
    return record


def told(record: GateRecord) -> Requests:
    return record.requests(complete=record.is_whole(None))


def test_each_request_is_counted_and_each_change_is_told() -> None:
    change = {"verb": "patch", "group": "apps", "resource": "deployments", "namespace": "shop", "name": "web"}
    record = read(
        line(0, "start"),
        line(1),
        line(2, **change, subresource="scale", sent=10),
        line(3, verb="delete", name="x", namespace="shop", code=403, refused="team-a: deny[0]"),
        line(4, verb="create", code=0, dry_run=True),
        line(5, "end", requests=4, refusals=1),
    )
    said = told(record)
    assert (said.total, said.refused, said.complete, said.truncated) == (4, 1, True, False)
    assert said.counts == {
        ("get", "ok"): 1,
        ("patch", "ok"): 1,
        ("delete", "refused"): 1,
        ("create", "unanswered"): 1,
    }
    assert said.describe()["changes"] == [
        {
            "time": START,
            "verb": "patch",
            "resource": "deployments.apps",
            "subresource": "scale",
            "namespace": "shop",
            "name": "web",
            "code": 200,
            "dry_run": False,
        },
        {
            "time": START,
            "verb": "delete",
            "resource": "pods",
            "subresource": "",
            "namespace": "shop",
            "name": "x",
            "code": 403,
            "dry_run": False,
            "refused": "team-a: deny[0]",
        },
        {
            "time": START,
            "verb": "create",
            "resource": "pods",
            "subresource": "",
            "namespace": "",
            "name": "",
            "code": 0,
            "dry_run": True,
        },
    ]


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ({"verb": "get", "subresource": "exec"}, True),
        ({"verb": "create", "subresource": "portforward"}, True),
        ({"verb": "get", "subresource": "proxy"}, True),
        ({"verb": "get", "subresource": "log"}, False),
        ({"verb": "deletecollection"}, True),
        ({"verb": "post", "resource": "", "path": "/logs"}, True),
        ({"verb": "POST", "resource": "", "path": "//x", "code": 400, "refused": "form"}, True),
        ({"verb": "GET", "resource": "", "path": "//x", "code": 400, "refused": "form"}, False),
        ({"verb": "TRACE", "resource": "", "path": "/x", "code": 400, "refused": "form"}, False),
        ({"verb": "create", "group": "authorization.k8s.io", "resource": "selfsubjectaccessreviews"}, False),
        ({"verb": "create", "group": "authorization.k8s.io", "resource": "localsubjectaccessreviews"}, False),
        ({"verb": "create", "group": "authentication.k8s.io", "resource": "selfsubjectreviews"}, False),
        ({"verb": "create", "group": "authentication.k8s.io", "resource": "tokenreviews"}, False),
        ({"verb": "create", "group": "mine.example.com", "resource": "tokenreviews"}, True),
        ({"verb": "delete", "group": "authentication.k8s.io", "resource": "tokenreviews"}, True),
    ],
)
def test_a_change_is_what_may_have_changed_something(said: dict[str, Any], changes: bool) -> None:
    assert bool(told(read(line(0, "start"), line(1, **said))).changes) is changes


def test_bytes_come_in_any_pieces() -> None:
    data = whole(50, verb="delete", name="ü")
    for size in (1, 7, 100, 5000):
        record = read(*(data[start : start + size] for start in range(0, len(data), size)))
        assert told(record) == told(read(data))
    assert told(read(data)).total == 50


def test_read_again_each_line_counts_once() -> None:
    data = whole(20, verb="delete")
    record = read(data[:700])
    record.restart()
    record.feed(data[:1500])
    record.restart()
    record.feed(data)
    assert told(record) == told(read(data))
    assert record.is_whole(None)


def test_a_missing_line_is_said() -> None:
    lines = whole(5).splitlines(keepends=True)
    assert read(b"".join(lines)).is_whole(None)
    for missing in range(len(lines)):
        assert not read(b"".join(lines[:missing] + lines[missing + 1 :])).is_whole(None), missing
        assert not read(b"".join([*lines[:missing], lines[missing][:-9], b"\n", *lines[missing + 1 :]])).is_whole(
            None
        )


def test_the_runners_word_says_what_there_has_to_be() -> None:
    lines = whole(5).splitlines(keepends=True)
    record = read(*lines[:4])
    assert [record.is_whole(count) for count in (None, 0, 3, 4, 5)] == [False, False, True, True, False]


def test_another_gate_after_one_that_died_is_a_part_that_is_missing() -> None:
    first, second = (
        whole(3, verb="delete"),
        whole(2, verb="create").replace(START.encode(), b"2026-11-29T10:00:09.000Z"),
    )
    record = read(first[: first.index(b'"seq":3')])
    record.restart()
    record.feed(second)
    record.restart()
    record.feed(second)
    said = told(record)
    assert (said.total, said.complete) == (4, False)
    assert [change.verb for change in said.changes] == ["delete", "delete", "create", "create"]


NO_LINES = [
    b"",
    b"gate: something complains\n",
    b"[" * 100_000 + b"\n",
    line(1).replace(b"{", b"[" * 30_000, 1),
    b'{"gate":1,"seq":1,"event":"request","x":' + b"[" * 20_000 + b"\n",
    b'{"gate":1,"seq":1,"event":"request","code":' + b"9" * 10_000 + b"}\n",
    b'{"gate":1,"seq":99999999999999999999999,"event":"end","x":1}\n',
    b'{"gate":1,"seq":-1,"event":"request","x":1}\n',
    b'{"gate":1,"seq":1,"event":"request","code":true,"dry_run":false}\n',
    b'{"gate":1,"seq":1,"event":"request","code":200,"dry_run":1}\n',
    b'{"gate":1,"seq":1,"event":"request","code":1000,"dry_run":false}\n',
    b'{"gate":1,"seq":1,"event":"request","code":200.0,"dry_run":false}\n',
    b'{"gate":1,"seq":1,"event":"request","code":200,"dry_run":false}x\n',
    b'{"gate":1,"seq":1,"event":"request",\xff}\n',
    b"\x00" * 10_000_000 + b"\n",
]


@pytest.mark.parametrize("data", NO_LINES, ids=range(len(NO_LINES)))
def test_what_the_gate_would_not_write_counts_for_nothing(data: bytes) -> None:
    record = read(line(0, "start"), data, line(1))
    assert told(record).total == 1


@pytest.mark.parametrize("value", [None, 1, True, [], {}, "\ud800", "\n\x1b[2J\u202e", "x" * 10_000, "日" * 10_000])
@pytest.mark.parametrize("field", ["verb", "resource", "group", "subresource", "namespace", "name", "path", "time"])
def test_texts_are_short_and_steer_nothing(field: str, value: object) -> None:
    fields: dict[str, Any] = {"verb": "delete", "subresource": "exec", field: value}
    said = told(read(line(0, "start"), line(1, **fields)))
    for change in said.changes:
        for text in (getattr(change, name) for name in change.__slots__):
            if isinstance(text, str):
                assert text.isprintable() or text == ""
                assert len(text.encode()) <= 4 * 256 + 8 * 256
    json.dumps(said.describe(), ensure_ascii=False).encode()


def test_any_bytes_are_read() -> None:
    chance = random.Random(13)
    for _ in range(3000):
        data = bytearray(whole(3, verb="delete", name="web"))
        for _ in range(chance.randrange(1, 8)):
            place = chance.randrange(len(data))
            data[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        record = read(bytes(data))
        said = told(record)
        assert said.total <= 3
        assert not said.complete or said.total == 3
        json.dumps(said.describe()).encode()


@pytest.mark.parametrize("name", ["x", "y" * 5000])
def test_memory_is_bounded_whatever_the_command_does(name: str) -> None:
    record = read(line(0, "start"))
    texts = {"resource": name, "namespace": name, "subresource": name, "path": name, "group": name}
    tracemalloc.start()
    for number in range(1, 5001):
        record.feed(line(number, verb="delete", name=f"{number}{name}", **texts))
    said = told(record)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 6 * 2**20
    assert (said.total, said.truncated) == (5000, True)
    assert len(said.changes) <= MOST_CHANGES
    assert said.counts == {("delete", "ok"): 5000}
    assert held < 3 * said.size + 2**20
    assert said.describe(10)["truncated"] is True
    assert read(line(0, "start"), line(1, verb="delete")).requests(complete=True).describe(1).get("truncated") is None


def test_a_credential_in_a_name_is_masked() -> None:
    said = told(read(line(0, "start"), line(1, verb="delete", name="hunter2", namespace="of-hunter2")))
    masked = said.masked(lambda text: text.replace("hunter2", "[redacted]"))
    assert "hunter2" not in json.dumps(masked.describe())
    assert masked.changes[0].namespace == "of-[redacted]"
