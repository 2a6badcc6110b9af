"""The client of the API server, against servers that do what a real one does only now and then."""

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes.aio import client

from k8s_mcp.cluster.client import Api


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
def silent_server(directory: Path) -> Generator[tuple[str, threading.Semaphore]]:
    """A TLS server that takes requests and says nothing, not even goodbye. Its URL, and the number of requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(directory / "certificate.pem"))
    asked = threading.Semaphore(0)
    connections: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(context.wrap_socket(connection, server_side=True))
            connections[-1].recv(65536)
            asked.release()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_no_connection_outlives_the_client(tmp_path: Path, loop: type[asyncio.AbstractEventLoop]) -> None:
    """A call is cancelled while it waits for its answer, as all are when the service ends."""

    async def cancel_a_call(url: str, asked: threading.Semaphore) -> None:
        settings = client.Configuration(host=url)
        settings.verify_ssl = False
        api = Api(settings, "default")
        call = asyncio.create_task(api.list("/api/v1/pods", {}))
        await asyncio.to_thread(asked.acquire)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await api.close()

    with silent_server(tmp_path) as (url, asked), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(cancel_a_call(url, asked))
        gc.collect()
        assert [str(warning.message) for warning in said] == []
