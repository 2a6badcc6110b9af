"""What is fuzzed. A target takes any bytes, and raises when a promise is broken."""

import asyncio
import base64
import json
import socket
import time
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext, suppress
from itertools import pairwise
from typing import Any, TypeAlias, cast
from unittest import mock
from urllib.parse import urlsplit

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm
from starlette.datastructures import Headers

from k8s_mcp.auth.guard import Authentication
from k8s_mcp.auth.host import Served, host_of
from k8s_mcp.auth.jwks import Jwks
from k8s_mcp.auth.oidc import Oidc
from k8s_mcp.auth.token_review import TokenReview
from k8s_mcp.client.event_source import EventSource, NotOurs
from k8s_mcp.cluster import answers, shapes
from k8s_mcp.errors import MalformedRequest, Unauthorized
from k8s_mcp.executors.base import read_exit
from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.addresses import why_refused
from k8s_mcp.kubeconfig.kubeconfig import Allowed, Kubeconfig, parse
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Output
from k8s_mcp.runner.frames import EXIT, TAG, Decoder, Frame, PipeDecoder
from k8s_mcp.runs.transcript import Contradiction, Transcript
from k8s_mcp.web import sse
from tests.fuzz.connection import Listener, read_by_h11
from tests.fuzz.gate_record import gate_record
from tests.fuzz.own_files import own_files
from tests.fuzz.service import Service
from tests.support.kubeconfig_trees import EVERYTHING, NOTHING, refusal

SECONDS = 2.0
"""Most processor time that one input may take; the slowest known takes 0.1 s."""

CREDENTIAL = "a-credential-of-this-run"
_NODES = 10_000

Target: TypeAlias = Callable[[bytes], None]


def bounded(target: Target, data: bytes) -> None:
    """Try one input. In processor time, so that it may be stopped meanwhile."""
    begin = time.process_time()
    target(data)
    assert time.process_time() - begin < SECONDS


def kubeconfig(data: bytes) -> None:
    """Any text is a kubeconfig or refused with reasons, and all readers agree on what is written anew."""
    text = data.decode(errors="replace")
    for allowed in (NOTHING, EVERYTHING):
        error = refusal(text, allowed)
        if error is None:
            _check_dump(parse(text, allowed), allowed)
        else:
            assert str(error).isprintable()
            assert len(str(error)) < 2000, "short enough for a model, and for a log"


def _check_dump(config: Kubeconfig, allowed: Allowed) -> None:
    text = config.dump()
    assert parse(text, allowed) == config
    ours = strict_yaml.load(text, max_nodes=_NODES)
    assert ours == yaml.load(text, Loader=yaml.CSafeLoader), "libyaml"
    assert ours == yaml.load(text, Loader=yaml.SafeLoader), "PyYAML"
    servers = {context.name: "http://127.0.0.1:9001" for context in config.contexts}
    proxied = config.without_credentials(servers)
    assert not proxied.secrets()
    assert parse(proxied.dump(), EVERYTHING) == proxied


def frames(data: bytes) -> None:
    """Any bytes in a pod's log give frames or nothing, however they are cut, and frames give well-formed events.

    The first byte says whether lines get a right checksum, without which few inputs would come far, and where to cut.
    """
    how, lines = data[:1], data[1:]
    number = how[0] if how else 0
    if number & 1:
        lines = b"\n".join(b"%b %08x %b" % (TAG, zlib.crc32(line), line) for line in lines.split(b"\n")) + b"\n"
    decoder, whole = Decoder(), Decoder().feed(lines)
    cut = len(lines) * (number >> 1) // 128
    assert list(map(_fields, decoder.feed(lines[:cut]) + decoder.feed(lines[cut:]))) == list(map(_fields, whole))
    for frame in whole:
        if frame.type == EXIT:
            read_exit([frame])
    PipeDecoder().feed(lines)
    try:
        events = Transcript(Redactor([CREDENTIAL])).feed(whole)
    except Contradiction:
        return
    ids = [event.id if not isinstance(event, Output) else event.last_id for event in events]
    assert all(earlier < later for earlier, later in pairwise(ids) if earlier is not None and later)
    assert CREDENTIAL.encode() not in sse.encode(events)
    list(EventSource().feed(sse.encode(events)))


def _fields(frame: Frame) -> tuple[object, ...]:
    return tuple(getattr(frame, name) for name in Frame.__slots__)


def addresses(data: bytes) -> None:
    """No spelling of a host that is let through is an address that is refused, whoever reads it."""
    host = data.decode(errors="replace")
    if why_refused(host, loopback=False) is not None:
        return
    for name in (host, host.lower(), f"{host}."):
        try:
            found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            continue  # a name
        for *_, address in found:
            assert why_refused(str(address[0]), loopback=False) is None, address


def event_source(data: bytes) -> None:
    """What `k8s-mcp exec` reads from a server that is not ours, or hostile: events, or a refusal."""
    cut = data[0] * len(data) // 256 if data else 0
    source = EventSource()
    with suppress(NotOurs):
        for part in (data[1:cut], data[max(cut, 1) :]):
            list(source.feed(part))


_SHAPES = (
    shapes.list_of("jobs"),
    shapes.list_of("secrets", metadata_only=True),
    *(shapes.one_of(kind) for kind in ("jobs", "pods", "secrets", "leases", "namespaces")),
    *(shapes.VERSION, shapes.ACCESS_REVIEW, shapes.TOKEN_REVIEW, shapes.DELETED),
)
_CHANGES = tuple(shapes.item_of(kind) for kind in ("jobs", "pods", "events"))
_LONGEST_ERROR = 1000
_LONGEST_PAUSE = 60


def answers_of_anybody(data: bytes) -> None:
    """Any status, headers and bytes, cut anywhere, are what an API server answers, or one of our errors.

    The first byte says what was asked, the next two the status, the fourth where it is cut; headers end as in HTTP.
    """
    what, high, low, cut = (data + b"\0\0\0\0")[:4]
    status = 100 + (high * 256 + low) % 900
    head, _, body = data[4:].partition(b"\r\n\r\n")
    lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")]
    headers = {name.title(): value.strip() for name, _, value in lines}
    for part in (body, body[: len(body) * cut // 256]):
        _check_answer(lambda: answers.value(status, headers, part, _SHAPES[what % len(_SHAPES)]))  # noqa: B023
        error = answers.error(status, headers, part)
        assert len(str(error)) < len(part) + _LONGEST_ERROR
        for line in part.split(b"\n"):
            _check_answer(lambda: answers.change(line, _CHANGES[what % len(_CHANGES)]))  # noqa: B023
    for check in (lambda: answers.check_log(status, headers), lambda: answers.check_watch(status)):
        with suppress(answers.OddAnswer):
            check()


def _check_answer(read: Callable[[], object]) -> None:
    """What it gives can be written down; a pause that it asks for is bounded."""
    with suppress(answers.OddAnswer):
        try:
            found = read()
        except answers.ApiError as error:
            found = error.retry_after or 0
            if not 0 <= found <= _LONGEST_PAUSE:
                raise AssertionError(found) from error
        json.dumps(found, ensure_ascii=False).encode()


class Tokens:
    """Any Authorization header is let in or refused with a 401: tokens of all kinds, JWTs of any form.

    The first byte says whether the rest is the header as it is, or header and claims of a JWT in JSON, one a line.
    """

    ISSUER = "https://issuer.example"

    AUDIENCE = "k8s-mcp"

    def __init__(self) -> None:
        review = TokenReview(self.AUDIENCE, nullcontext(cast("Any", _KnowsNobody())))
        self._authentication = Authentication((Oidc(self.ISSUER, [self.AUDIENCE], "sub", "groups"), review), 10)
        self._loop = asyncio.new_event_loop()
        self._open = AsyncExitStack()
        self._loop.run_until_complete(self._open.enter_async_context(review.open()))
        public = jwt.PyJWK({**json.loads(RSAAlgorithm.to_jwk(generate_private_key(65537, 2048).public_key()))})
        self._keys = mock.patch.object(Jwks, "key", mock.AsyncMock(return_value=public))
        self._keys.start()

    def close(self) -> None:
        """Forget the key."""
        self._keys.stop()
        self._loop.run_until_complete(self._open.aclose())
        self._loop.close()

    def __call__(self, data: bytes) -> None:
        how, rest = data[:1] or b"\0", data[1:]
        if how[0] & 1:
            parts = [*rest.split(b"\n", 2), b"", b""][:3]
            rest = b"Bearer " + b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        with suppress(Unauthorized):
            self._loop.run_until_complete(self._authentication.principal(Headers(raw=[(b"authorization", rest)])))
            raise AssertionError("somebody was let in without a key")


class _KnowsNobody:
    """An API server that accepts no token."""

    async def review_token(self, _token: str, _audience: str) -> dict[str, Any]:
        return {"authenticated": False}


def host(data: bytes) -> None:
    """Any Host is one name and perhaps a port, as the whole world reads it, or malformed."""
    try:
        found = host_of(Headers(raw=[(b"host", data)]), "1.1")
    except MalformedRequest:
        return
    served = Served(["k8s.example.com"])
    parts = urlsplit(f"//{data.decode('latin-1')}")
    assert parts.username is None
    assert parts.path == parts.query == parts.fragment == ""
    assert (parts.hostname or "").lower() == found.name
    assert str(parts.port or "") == found.port
    if served.has_host(found):
        assert found.name in {"localhost", "127.0.0.1", "::1", "k8s.example.com"}


class Requests:
    """Any body at any path gets a well-formed answer, and never one that says that the service failed.

    The first byte chooses the path, the second what the body is said to be.
    """

    PATHS = (
        ("POST", "/sse"),
        ("PUT", "/clusters/one"),
        ("POST", "/mcp"),
        ("POST", "/messages/?session_id=" + "0" * 32),
    )
    TYPES = ("application/json", "application/json; charset=utf-16", "text/plain", "")
    STATUS = frozenset({200, 202, 400, 404, 405, 406, 408, 413, 415, 422, 429})

    def __init__(self) -> None:
        self._service = Service()

    def close(self) -> None:
        """End the service."""
        self._service.close()

    def __call__(self, data: bytes) -> None:
        path, media_type = (data + b"\0\0")[:2]
        method, target = self.PATHS[path % len(self.PATHS)]
        status, kind, body = self._service.ask(method, target, self.TYPES[media_type % len(self.TYPES)], data[2:])
        assert status in self.STATUS, (status, body)
        if kind == sse.MEDIA_TYPE:
            body.decode()
        elif body and kind.endswith("json"):
            answer: Any = json.loads(body)
            assert isinstance(answer, dict)
        else:
            assert status in {202, 404, 405, 406}, (kind, body)


class Connection:
    """Any bytes on a connection are requests as h11 reads them, or refused; and nothing is written into an answer.

    The first byte says where to cut. What is behind a request that is not answered yet is not read, so that with a
    cut more requests may be seen, but never others.
    """

    def __init__(self) -> None:
        self._listener = Listener()

    def close(self) -> None:
        """End it."""
        self._listener.close()

    def __call__(self, data: bytes) -> None:
        sent = data[1:]
        cut = len(sent) * data[0] // 256 if data else 0
        expected = read_by_h11(sent)
        for parts in ((sent,), (sent[:cut], sent[cut:])):
            seen = self._listener.read(*parts)
            assert all(ours == theirs for ours, theirs in zip(seen.requests, expected, strict=False)), seen
            assert seen.is_well_answered(), seen


def target(name: str) -> Target:
    """The target of that name."""
    return _MADE[name]() if name in _MADE else _PLAIN[name]


_PLAIN: dict[str, Target] = {
    "kubeconfig": kubeconfig,
    "frames": frames,
    "addresses": addresses,
    "event_source": event_source,
    "answers": answers_of_anybody,
    "host": host,
    "own_files": own_files,
    "gate_record": gate_record,
}
_MADE: dict[str, Callable[[], Requests | Connection | Tokens]] = {
    "request": Requests,
    "connection": Connection,
    "token": Tokens,
}
NAMES = (*_PLAIN, *_MADE)
