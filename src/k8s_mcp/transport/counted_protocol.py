"""One HTTP connection that counts: it has its place among all, and keeps it while a request is in progress."""

import asyncio
from typing import Any

from k8s_mcp.transport.connections import HOLD, Connections, Slot
from k8s_mcp.transport.http_protocol import BoundedProtocol

KEEP_ALIVE_SECONDS = 75
"""For an idle connection, longer than common proxies keep theirs; with many connections it is closed before."""


class CountedProtocol(BoundedProtocol):
    """`slot` is the connection's place if it has one already, as under TLS."""

    def __init__(self, connections: Connections, slot: Slot | None, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.timeout_keep_alive = KEEP_ALIVE_SECONDS
        self._connections = connections
        self._slot = slot

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if self._slot is None:
            self._slot = Slot(self.client[0] if self.client else "", transport.abort)
            if not self._connections.admit(self._slot):
                transport.abort()
        else:
            self._slot.drop = transport.abort

    def connection_lost(self, exc: Exception | None) -> None:
        if self._slot is not None:
            self._connections.remove(self._slot)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        scope: dict[str, Any] = self.scope  # type: ignore[assignment] # with a key of our own
        scope[HOLD] = self._hold
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._slot is not None and self.cycle.response_complete:
            self._connections.free(self._slot)

    def _hold(self) -> None:
        if self._slot is not None:
            self._connections.occupy(self._slot)
