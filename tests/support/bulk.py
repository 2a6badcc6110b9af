"""Reading a great stream cheaply, as fast or as slowly as a test wants."""

import http.client
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class BulkReader:
    """Starts a run and reads its stream in blocking calls, counting events instead of keeping them."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        self.events = 0
        self.bytes = 0
        self.end = b""
        """The last bytes that came."""
        self._buffer = memoryview(bytearray(1 << 20))
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        self._connection.request("POST", "/sse", json.dumps(body), {"Content-Type": "application/json"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()
        self._connection.close()

    def read(self, limit: int = 1 << 20) -> int:
        """Read what there is, at most `limit` bytes; 0 at the end of the stream."""
        count = self._response.readinto(self._buffer[:limit])
        new = self.end[-1:] + self._buffer[:count]
        self.events += new.count(b"\n\n")
        self.bytes += count
        self.end = (self.end + new[1:])[-1000:] if self.end else new[-1000:]
        return count

    def read_to_end(self) -> None:
        while self.read():
            pass

    def final(self) -> tuple[dict[str, Any], int]:
        """The final event's data and id."""
        lines = self.end.decode().removesuffix("\n\n").rpartition("\n\n")[2].split("\n")
        assert lines[0] == "event: control"
        return json.loads(lines[1].removeprefix("data: ")), int(lines[2].removeprefix("id: "))
