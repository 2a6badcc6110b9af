"""The client of the API server, against servers that do what a real one does only now and then."""

import asyncio
import gc
import socket
import ssl
import struct
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes.aio import client

from k8s_mcp.cli.serve import LOOP
from k8s_mcp.cluster.client import Api, ApiUnreachable
from k8s_mcp.cluster.connect import ConfiguredServer


def certificate(file: Path) -> Path:
    """A key, and a certificate for it by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "silent")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    made = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return file


@contextmanager
def accepting(take: Callable[[socket.socket], None]) -> Generator[str]:
    """A server in a thread of its own that does so with each connection, one after the other. Its URL."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            take(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def silent_server(directory: Path) -> Generator[tuple[str, threading.Semaphore]]:
    """A TLS server that takes requests and says nothing, not even goodbye. Its URL, and the number of requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(directory / "certificate.pem"))
    asked = threading.Semaphore(0)
    connections: list[socket.socket] = []

    def take(connection: socket.socket) -> None:
        connections.append(context.wrap_socket(connection, server_side=True))
        connections[-1].recv(65536)
        asked.release()

    try:
        with accepting(take) as url:
            yield url, asked
    finally:
        for connection in connections:
            connection.close()


def runner() -> asyncio.Runner:
    """A runner with the event loop that the service has."""
    return asyncio.Runner(loop_factory=uvicorn.Config("", loop=LOOP).get_loop_factory())


def api_of(url: str) -> Api:
    settings = client.Configuration(host=url)
    settings.verify_ssl = False
    return Api(ConfiguredServer(settings), "default")


def test_no_connection_outlives_the_client(tmp_path: Path) -> None:
    """A call is cancelled while it waits for its answer, as all are when the service ends."""

    async def cancel_a_call(url: str, asked: threading.Semaphore) -> None:
        api = api_of(url)
        call = asyncio.create_task(api.list("/api/v1/pods", {}))
        await asyncio.to_thread(asked.acquire)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await api.close()

    with silent_server(tmp_path) as (url, asked), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with runner() as running:
            running.run(cancel_a_call(url, asked))
        gc.collect()
        assert [str(warning.message) for warning in said] == []


@contextmanager
def resetting_server() -> Generator[tuple[str, list[OSError]]]:
    """Takes connections and resets them, before or within the TLS handshake, as an API server that is killed does.
    Its URL, and what went wrong with its own ends of them.
    """
    wrong: list[OSError] = []
    at_once = struct.pack("ii", 1, 0)

    numbers = count()

    def take(connection: socket.socket) -> None:
        try:
            if next(numbers) % 2:
                connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            connection.close()
        except OSError as error:
            wrong.append(error)

    with accepting(take) as url:
        yield url, wrong


def test_connections_that_are_reset_end_as_our_error_and_touch_no_other() -> None:
    """There is an event loop that closes file descriptors of others then: the server's, here in the same process."""
    ended: Counter[type[Exception]] = Counter()

    async def call(api: Api) -> None:
        for _ in range(100):
            try:
                await api.version()
            except Exception as error:  # noqa: BLE001 - which ones, is the question
                ended[type(error)] += 1

    async def call_often(url: str) -> None:
        api = api_of(url)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(call(api))
        await api.close()

    with resetting_server() as (url, wrong), runner() as running:
        running.run(call_often(url))
    assert wrong == []
    assert ended == {ApiUnreachable: 1000}
