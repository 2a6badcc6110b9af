"""Faults on the way between a client and the service, which the real thing does not produce on demand."""

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST


class _Server:
    """Listens on a free port while its context lasts, and serves every connection in a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was shut down
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=[client]))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self.serve(client)


class CuttingProxy(_Server):
    """Passes connections on to `target`, and cuts the n-th after `cuts[n]` bytes of its answer; later ones never.

    A negative number cuts before the request is passed on. Every second cut is a reset, the others an orderly end.
    """

    def __init__(self, target: str, cuts: Iterable[int] = ()) -> None:
        super().__init__()
        self.connections = 0
        self._target = urlsplit(target)
        self._cuts = iter(cuts)
        self._lock = threading.Lock()
        self._down = threading.Event()

    def go_down(self) -> None:
        """Cut every connection there is, and refuse new ones until `come_back()`."""
        self._down.set()
        for thread in self._threads[1:]:
            thread.join()

    def come_back(self) -> None:
        self._down.clear()

    def serve(self, client: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            left = next(self._cuts, None)
            if self.connections % 2 == 0 and left is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if self._down.is_set() or (left is not None and left < 0):
            return
        with socket.create_connection((str(self._target.hostname), self._target.port or 80)) as server:
            while not self._stopped.is_set() and not self._down.is_set() and left != 0:
                for readable in select.select([client, server], [], [], 0.05)[0]:
                    data = readable.recv(65536 if readable is client or left is None else min(left, 65536))
                    if not data:
                        return
                    (server if readable is client else client).sendall(data)
                    if readable is server and left is not None:
                        left -= len(data)


class Script(_Server):
    """Answers the n-th request with `answers[n]`, and all later ones with the last.

    `requests` are those seen, as text. With `hold` the connections stay open until `release()`.
    """

    def __init__(self, *answers: bytes, hold: bool = False) -> None:
        super().__init__()
        self.requests: list[str] = []
        self._answers = answers
        self._lock = threading.Lock()
        self._hold = hold

    def release(self) -> None:
        self._stopped.set()

    def serve(self, client: socket.socket) -> None:
        request = _received(client, b"", lambda data: b"\r\n\r\n" in data)
        head, _, body = request.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        body = _received(client, body, lambda data: len(data) >= length)
        with self._lock:
            answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
            self.requests.append(f"{head.decode()}\r\n\r\n{body.decode()}")
        client.sendall(answer)
        if self._hold:
            self._stopped.wait()


def answer(status: str = "200 OK", body: str = "", media_type: str = "text/event-stream", **headers: str) -> bytes:
    """An HTTP answer that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Type: {media_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


def _received(client: socket.socket, data: bytes, enough: Callable[[bytes], bool]) -> bytes:
    while not enough(data):
        more = client.recv(65536)
        if not more:
            raise ConnectionError("the client left")
        data += more
    return data
