"""What authentication adds to a request: the same with and without, by turns, over connections that are kept open."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import httpx

from bench.figures import Row, Sample, later
from tests.support.callers import Callers, bearer
from tests.support.issuer import AUDIENCE, running_issuer
from tests.support.service import Service

_REQUESTS = 100  # of each kind in a round
_ALGORITHMS = ("RS256", "ES256")
_LIMIT = 1.0
_MILLISECONDS = 1000


def measure(directory: Path, rounds: int) -> Iterator[Row]:
    """The rows of this part."""
    with ExitStack() as stack:
        issuer = stack.enter_context(running_issuer())
        for algorithm in _ALGORITHMS:
            issuer.add(algorithm, algorithm)
        callers = Callers(directory / "tokens")
        for number in range(1000):
            callers.add(f"caller{number}")
        settings: dict[str, object] = {
            "auth_tokens": callers.file,
            "oidc_issuer": issuer.url,
            "oidc_audiences": AUDIENCE,
        }
        plain = _started(stack, directory / "plain", {})
        guarded = _started(stack, directory / "guarded", settings)
        headers = {"a token, 1000 in the file": callers.headers("caller500")}
        for algorithm in _ALGORITHMS:
            token = issuer.token(algorithm, algorithm, groups=["dev"])
            headers[f"OpenID Connect, {algorithm}"] = bearer(token)
        without = _connected(stack, plain)
        asked = {name: (_connected(stack, guarded), header) for name, header in headers.items()}
        floor: list[float] = []
        seconds: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(rounds):
            times: dict[str, list[float]] = {name: [] for name in ("", *asked)}
            for _ in range(_REQUESTS):
                times[""].append(_ask(without, {}))
                for name, (connection, header) in asked.items():
                    times[name].append(_ask(connection, header))
            floor.append(_MILLISECONDS * median(times.pop("")))
            for name, values in times.items():
                seconds[name].append(_MILLISECONDS * median(values))
    for name, values in seconds.items():
        yield later(f"GET /runs, {name}", "ms", Sample.of(values), ("without", Sample.of(floor)), _LIMIT)


def _started(stack: ExitStack, directory: Path, settings: dict[str, object]) -> Service:
    directory.mkdir()
    service = Service(directory, os.environ["PATH"], settings)
    stack.callback(service.stop)
    return service


def _connected(stack: ExitStack, service: Service) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", httpx.URL(service.url).port or 0, timeout=30)
    stack.callback(connection.close)
    return connection


def _ask(connection: HTTPConnection, headers: dict[str, str]) -> float:
    """Seconds from the request to the whole answer."""
    start = time.perf_counter()
    connection.request("GET", "/runs", headers=headers)
    response = connection.getresponse()
    response.read()
    took = time.perf_counter() - start
    assert response.status == 200, response.status
    return took
