"""A kept connection to the API server, with the administrator's rights, for what tests ask again and again.

Starting kubectl takes a processor more than a tenth of a second: who waits for a state by it takes all of one.
"""

import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.service import wait_for

_PATHS = {
    "configmaps": "/api/v1",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
}


class AskedOften:
    """By way of `kubectl proxy`, which knows every kind of credential."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def items(self, kind: str, selector: str, namespace: str) -> list[dict[str, Any]]:
        """The objects of this kind, named by its plural, as kubectl has them, with their kind; an AssertionError when
        the API server does not say.
        """
        path = f"{_PATHS[kind]}/namespaces/{namespace}/{kind}"
        answer = self._http.get(path, params={"labelSelector": selector})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        found = answer.json()
        return [{"kind": found["kind"].removesuffix("List")} | item for item in found["items"]]


@contextmanager
def asked_often(kubectl: Sequence[str]) -> Generator[AskedOften]:
    """For as long as the context lasts. `kubectl` is the command with its options."""
    with tempfile.TemporaryDirectory(prefix="k8s-mcp-") as directory:
        socket = Path(directory) / "socket"  # its path must be short
        process = subprocess.Popen([*kubectl, "proxy", f"--unix-socket={socket}"], stdout=subprocess.DEVNULL)
        try:
            wait_for(socket.is_socket, what="kubectl proxy")
            transport = httpx.HTTPTransport(uds=str(socket))
            with httpx.Client(transport=transport, base_url="http://localhost", timeout=30) as http:
                yield AskedOften(http)
        finally:
            process.terminate()
            process.wait()
