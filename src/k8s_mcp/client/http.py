"""HTTP/1.1 as this client needs it, on the standard library: a larger one takes longer to import than a command.

Each call has a connection of its own, so calls may be made in several threads. Redirects are not followed.
"""

import json
import os
import ssl
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from io import BufferedReader
from socket import socket
from urllib.parse import SplitResult, unquote, urlsplit

_CONNECT_SECONDS = 10.0
_CHUNK_BYTES = 64 * 1024


class CallFailed(Exception):
    """There is no answer, or it ends too early. `not_http`: something answers, and otherwise than HTTP does."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error) or type(error).__name__)
        self.not_http = isinstance(error, HTTPException | ConnectionError)


class NotConnected(CallFailed):
    """Nothing was sent."""


class _WholeLines(BufferedReader):
    """Raises IncompleteRead for a line that breaks off, and for one that is missing: http.client takes the end of a
    connection for that of the headers.
    """

    _begun = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size and (line or self._begun):
            raise IncompleteRead(line)
        self._begun = True
        return line


class _Answer(HTTPResponse):
    def __init__(self, sock: socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = _WholeLines(self.fp.detach())


class Response:
    """An answer whose body is read as it comes."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def chunks(self) -> Iterator[bytes]:
        """What has come, as soon as it has. Raises CallFailed."""
        with _failing_as(CallFailed):
            while chunk := self._response.read1(_CHUNK_BYTES):
                yield chunk

    def read(self) -> bytes:
        """All of the body. Raises CallFailed."""
        return b"".join(self.chunks())


class Http:
    """Calls to the service at `url`, through the environment's proxies unless `direct`. Raises ValueError for a proxy
    that cannot be used. `silence` is how many seconds may pass without a byte.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], trusted: ssl.SSLContext, *, silence: float, direct: bool
    ) -> None:
        self._url = urlsplit(url)
        self._headers = headers
        self._trusted = trusted
        self._silence = silence
        self._proxy = None if direct else _proxy(self._url)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        silence: float | None = None,
    ) -> Generator[Response]:
        """The answer to one call of `path` below the service's URL; `body` is sent as JSON. Raises CallFailed."""
        sent = {**self._headers, **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
            sent["Content-Type"] = "application/json"
        connection, target = self._connection(sent, f"{self._url.path}{path}")
        try:
            connection.response_class = _Answer
            with _failing_as(NotConnected):
                connection.connect()
            connection.sock.settimeout(silence or self._silence)
            with _failing_as(CallFailed):
                connection.request(method, target, content, sent)
                answer = connection.getresponse()
            with closing(answer):
                yield Response(answer)
        finally:
            connection.close()

    def _connection(self, headers: dict[str, str], path: str) -> tuple[HTTPConnection, str]:
        """A connection, and what is asked for on it. A proxy's own header is added where it belongs."""
        host, port, proxy = self._url.hostname or "", self._url.port, self._proxy
        there = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        login = _login(proxy) if proxy else {}
        if self._url.scheme == "https":
            connection = HTTPSConnection(*there, timeout=_CONNECT_SECONDS, context=self._trusted)
            if proxy:
                connection.set_tunnel(host, port, login)
            return connection, path
        if proxy:
            headers |= login
            path = f"http://{self._url.netloc}{path}"
        return HTTPConnection(*there, timeout=_CONNECT_SECONDS), path


@contextmanager
def _failing_as(kind: type[CallFailed]) -> Generator[None]:
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        raise kind(error) from error


def _proxy(url: SplitResult) -> SplitResult | None:
    """The one that the environment, or on other systems than Linux the system, names for this URL."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - seldom needed, and slow to import

    found = getproxies()
    text = found.get(url.scheme) or found.get("all")
    if not text or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    if proxy.scheme != "http" or not proxy.hostname or proxy.port == 0:
        raise ValueError("only proxies whose own URL begins with http:// can be")
    return proxy


def _login(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    from base64 import b64encode  # noqa: PLC0415 - seldom needed

    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
