"""One run on a service, seen from its client: started once, every event read once, whatever the connection does."""

import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from secrets import token_hex
from typing import Any, cast
from urllib.parse import urlsplit

from k8s_mcp import __version__
from k8s_mcp.client.event_source import Control, Event, EventSource, NotOurs
from k8s_mcp.client.http import CallFailed, Http, NotConnected, Response
from k8s_mcp.client.service import RUN_ID, Endpoint, is_loopback

FINAL = frozenset({"done", "timeout", "cancelled", "error"})
"""The statuses of final events."""

_SILENCE_SECONDS = 45.0  # the service writes something every 15 s
_CANCEL_SECONDS = 5.0
_RESUME_SECONDS = 10.0  # after it a service with default settings has cancelled the run
_LONGEST_PAUSE = 2.0
_MISSES = 5  # how often a run whose connection was lost is not there, before it is gone: three seconds
_LONGEST_RETRY_AFTER = 30.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_PROBLEM_BYTES = 64 * 1024


class ServiceError(Exception):
    """The service is not there, refuses the request, or has lost the run. The message is for the user."""


class Busy(ServiceError):
    """The service has no room for another run; later it may. Nothing was started."""


class RemoteRun:
    """One run on a service. It starts when `events` is iterated.

    `tell` gets what a user should know meanwhile, one sentence at a time. `cancel` may be called in another thread.
    """

    def __init__(
        self,
        service: Endpoint,
        request: "Mapping[str, object] | str",
        tell: Callable[[str], None],
        *,
        watches: bool = False,
        timed: bool = False,
    ) -> None:
        """`request` is what starts the run, or the id of one that is there; who only `watches` that keeps it neither
        alive nor waiting. With `timed` there are events that say when the others were sent, if the service knows.
        Raises ServiceError.
        """
        self.watches = watches
        self._timed = timed
        self.run_id: str | None = request if isinstance(request, str) else None
        self._url = service.url
        self._request = request
        self._tell = tell
        self._http = connect(service)
        self._key = token_hex(16)
        self._last_id: int | None = None
        self._seen = False  # an answer about this run
        self._missed = 0
        self._may_run = False  # the request may have arrived
        self._lost_since: float | None = None
        self._pause = 0.0
        self._told = False

    def events(self) -> Generator[Event]:
        """All events up to the final one, each once; `started` and `pending` can come again. Raises ServiceError."""
        while True:
            try:
                with self._stream() as response:
                    self._may_run = True
                    self._check(response)
                    yield from self._read(response)
                    return
            except CallFailed as error:
                if not self._may_run and isinstance(error, NotConnected):
                    raise unreachable(self._url, error) from error
                self._may_run = True
                lost = _Lost(str(error))
            except NotOurs as error:
                raise ServiceError(f"{self._url} is no k8s-mcp service: {error}") from error
            except _Lost as error:
                lost = error
            self._wait(lost)

    def cancel(self) -> None:
        """Ask for the end of the run, whose final event follows. Its `run_id` must be known. Raises ServiceError."""
        try:
            with self._http.stream("DELETE", f"/runs/{self.run_id}", silence=_CANCEL_SECONDS) as response:
                if response.status not in {202, 404}:
                    raise refusal(self._url, response)
        except CallFailed as error:
            raise unreachable(self._url, error) from error

    def is_pending(self) -> bool:
        """Whether the service says that the command has not begun. May be called in another thread."""
        try:
            return self._state().get("status") == "pending"
        except ServiceError:
            return False

    def requests(self) -> Mapping[str, object] | None:
        """What the command asked of its cluster, if the service knows. Raises ServiceError."""
        found = self._state().get("requests")
        return cast("dict[str, object]", found) if isinstance(found, dict) else None

    def _state(self) -> Mapping[str, object]:
        try:
            with self._http.stream("GET", f"/runs/{self.run_id}", silence=_CANCEL_SECONDS) as response:
                if response.status != HTTPStatus.OK:
                    raise refusal(self._url, response)
                found: Any = json.loads(response.read())
        except CallFailed as error:
            raise unreachable(self._url, error) from error
        except ValueError as error:
            raise ServiceError(f"{self._url} is no k8s-mcp service: {error}") from error
        return cast("dict[str, object]", found) if isinstance(found, dict) else {}

    def resume_window(self) -> float | None:
        """How long the service lets runs go on without a client, in seconds, if it says so. Raises ServiceError."""
        try:
            with self._http.stream("GET", "/version") as response:
                found: Any = json.loads(response.read()) if response.status == HTTPStatus.OK else {}
        except CallFailed as error:
            raise unreachable(self._url, error) from error
        except ValueError:
            return None
        seconds = cast("dict[str, object]", found).get("resume_window") if isinstance(found, dict) else None
        return float(seconds) if isinstance(seconds, int | float) else None

    def _stream(self) -> AbstractContextManager[Response]:
        if self.run_id is None:
            headers = {"Idempotency-Key": self._key}
            return self._http.stream("POST", "/sse", self._request, headers)
        headers = {} if self._last_id is None else {"Last-Event-ID": str(self._last_id)}
        asked = [f"{name}=true" for name, is_so in (("watch", self.watches), ("timed", self._timed)) if is_so]
        query = f"?{'&'.join(asked)}" if asked else ""
        return self._http.stream("GET", f"/runs/{self.run_id}/events{query}", headers=headers)

    def _check(self, response: Response) -> None:
        again = self._seen or self._lost_since is not None
        if again and response.status in _TRY_AGAIN:
            raise _Lost(str(refusal(self._url, response)), _retry_after(response))
        if self.run_id is not None and response.status == 404 and self._seen:
            self._missed += 1
            if self._missed <= _MISSES:  # it may have begun on another replica just now
                raise _Lost(str(refusal(self._url, response)))
            raise ServiceError(
                f"the connection was lost, and now the run is gone, too: {refusal(self._url, response)}"
            )
        if response.status != 200:
            raise refusal(self._url, response)
        if response.headers.get("Content-Type", "").partition(";")[0] != "text/event-stream":
            raise NotOurs("its answer is not an event stream")
        self._seen, self._missed = True, 0

    def _read(self, response: Response) -> Generator[Event]:
        if self.run_id is not None:
            self._lost_since = None  # the run is still there
        source = EventSource()
        for chunk in response.chunks():
            for event in source.feed(chunk):
                status = event.data.get("status") if isinstance(event, Control) else None
                if status == "started" and isinstance(event, Control):
                    self.run_id = _run_id(event)
                    self._lost_since = None
                yield event
                if status in FINAL:
                    return
                self._last_id = event.id or self._last_id
                self._pause, self._told = 0.0, False
        raise _Lost("the stream ended without a final event")

    def _wait(self, lost: "_Lost") -> None:
        """Before the next attempt. Raises ServiceError when it is too late for one."""
        now = time.monotonic()
        if self.run_id is not None and lost.retry_after is not None:
            pause = lost.retry_after  # somebody is there, and says how long it takes
            self._lost_since = now + pause
        else:
            # Before `started` was seen, answers do not count: a request repeated much later starts another run.
            self._lost_since = self._lost_since or now
            pause = max(self._pause, lost.retry_after or 0)
            if now + pause > self._lost_since + _RESUME_SECONDS:
                raise ServiceError(
                    f"the connection to {self._url} was lost and did not come back within {_RESUME_SECONDS:.0f} s; "
                    f"without a client the service soon cancels the run ({lost})"
                )
        if pause > 0 and not self._told:
            self._told = True
            self._tell(f"lost the connection, trying again ({lost})")
        time.sleep(pause)
        self._pause = min(max(0.1, 2 * self._pause), _LONGEST_PAUSE)


class _Lost(Exception):
    """The connection is gone, for now. `retry_after` is in seconds."""

    def __init__(self, cause: str, retry_after: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after = retry_after


def connect(service: Endpoint) -> Http:
    """Through the environment's proxies, except to this machine itself. Raises ServiceError."""
    url = service.url
    local = is_loopback(urlsplit(url).hostname or "")
    headers = {"User-Agent": f"k8s-mcp/{__version__}"}
    if service.token:
        headers["Authorization"] = f"Bearer {service.token}"
    # Over plain HTTP nobody is trusted, which saves the 30 ms of loading authorities.
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http:") else _trusting(service.ca_file)
    try:
        return Http(url, headers, trusted, silence=_SILENCE_SECONDS, direct=local)
    except ValueError as error:
        raise ServiceError(f"the proxy that the environment names cannot be used: {error}") from error


def _trusting(ca_file: str) -> ssl.SSLContext:
    """`ca_file`, or what the environment names, or the system's authorities."""
    file = ca_file or os.environ.get("SSL_CERT_FILE")
    directory = None if file else os.environ.get("SSL_CERT_DIR")
    try:
        if not (file or directory) and sys.platform != "linux":
            from httpx2 import create_ssl_context  # noqa: PLC0415 - asks the system itself, and is slow to import

            return create_ssl_context()
        return ssl.create_default_context(cafile=file, capath=directory)
    except (OSError, ssl.SSLError) as error:
        where = ca_file or "SSL_CERT_FILE or SSL_CERT_DIR"
        raise ServiceError(f"the certificates in {where} cannot be used: {error.strerror or error}") from error


def unreachable(url: str, error: CallFailed) -> ServiceError:
    """For the user: nobody answers at `url`, or nobody that speaks as it says."""
    said = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ServiceError(f"the certificate of {url} is not trusted ({said}); --ca-file names its authority")
    if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said or "HTTP_REQUEST" in said:
        return ServiceError(f"{url} does not speak TLS; is it http://?")
    if error.not_http and not isinstance(error, NotConnected):
        return ServiceError(f"{url} does not answer as HTTP does ({said}); if it speaks TLS, its URL is https://")
    return ServiceError(
        f"cannot reach {url} ({said}); start a service there with "
        "`k8s-mcp serve`, or name another with --url or K8S_MCP_URL"
    )


def refusal(url: str, response: Response) -> ServiceError:
    """For the user: the service at `url` said no."""
    if response.status == HTTPStatus.UNAUTHORIZED:
        return ServiceError(
            f"{url} answered 401: {_detail(response) or response.reason} "
            "(k8s-mcp takes it from K8S_MCP_TOKEN, or the file that K8S_MCP_TOKEN_FILE names)"
        )
    detail = _detail(response)
    if detail is None and response.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return ServiceError(f"{url} answered {response.status}: no k8s-mcp service is there; correct --url")
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Busy(f"{url} answered 429: {detail or response.reason}")
    return ServiceError(f"{url} answered {response.status}: {detail or response.reason}")


def _run_id(event: Control) -> str:
    run_id = event.data.get("run_id")
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):  # it becomes a part of URLs
        raise NotOurs("a run's id is not one")
    return run_id


def _detail(response: Response) -> str | None:
    """What a problem document (RFC 9457) says; the service puts the fields' names there."""
    body = bytearray()
    for chunk in response.chunks():
        body += chunk
        if len(body) > _PROBLEM_BYTES:
            return None
    try:
        detail: Any = json.loads(body)["detail"]
    except (ValueError, TypeError, LookupError):
        return None
    return detail if isinstance(detail, str) else None


def _retry_after(response: Response) -> float | None:
    seconds = response.headers.get("Retry-After", "")
    return min(float(seconds), _LONGEST_RETRY_AFTER) if seconds.isascii() and seconds.isdigit() else None
