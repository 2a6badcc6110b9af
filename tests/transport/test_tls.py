"""HTTPS: from certificate files, which may change under a running service."""

import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.certificates import Authority
from tests.support.execute import k8s_mcp
from tests.support.service import Service, StartService, wait_for

HEAD = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Files:
    """The service's certificate and key, as something like cert-manager writes them."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.renew(2)

    def renew(self, serial: int) -> None:
        certificate, key = self.authority.issue(serial)
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)

    def settings(self) -> dict[str, Any]:
        return {"tls_certificate": self.certificate, "tls_key": self.key}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextmanager
def connect(service: Service, files: Files, **changed: Any) -> Generator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(files.authority.file))
    for name, value in changed.items():
        setattr(context, name, value)
    host, port = re.fullmatch(r"https://(.*):(\d+)", service.url).groups()  # type: ignore[union-attr]
    with (
        socket.create_connection((host, int(port)), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        yield connection


def serial_of(connection: ssl.SSLSocket) -> int:
    certificate: Any = connection.getpeercert()
    return int(certificate["serialNumber"], 16)


def answered(connection: ssl.SSLSocket) -> bool:
    connection.sendall(HEAD)
    return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_certificate_is_renewed_without_a_restart_and_connections_stay(serve: StartService, files: Files) -> None:
    service = serve(**files.settings())
    with connect(service, files) as before:
        assert serial_of(before) == 2
        assert answered(before)
        files.certificate.write_bytes(files.authority.issue(3)[0])  # between the two writes of a renewal

        def reported() -> bool:
            return "what it said before still holds" in service.log.read_text()

        wait_for(reported, 10)
        with connect(service, files) as meanwhile:
            assert serial_of(meanwhile) == 2
        files.renew(4)

        def serial() -> int:
            with connect(service, files) as after:
                assert answered(after)
                return serial_of(after)

        wait_for(lambda: serial() == 4, 10, "the new certificate")
        assert answered(before)
    service.log.write_text(service.log.read_text().replace("ERROR", "as expected"))


def test_output_is_whole_under_tls(serve: StartService, files: Files, fake_kubeconfig: str, tmp_path: Path) -> None:
    service = serve(**files.settings())
    (tmp_path / "kubeconfig").write_text(fake_kubeconfig)
    where = ["--url", service.url, "--kubeconfig", str(tmp_path / "kubeconfig")]
    ran = k8s_mcp("exec", *where, "--ca-file", str(files.authority.file), "--", "seq 200000")
    assert ran.stdout == "".join(f"{number}\n" for number in range(1, 200001)), ran.stderr
    untrusted = k8s_mcp("exec", *where, "--", "true")
    assert untrusted.returncode == 125
    assert "certificate" in untrusted.stderr.lower()


def test_request_sent_with_the_handshakes_last_bytes_is_answered(serve: StartService, files: Files) -> None:
    service = serve(**files.settings())
    for _ in range(50):
        with connect(service, files) as connection:
            assert answered(connection)


def test_plain_http_gets_nothing(serve: StartService, files: Files) -> None:
    service = serve(**files.settings())
    with pytest.raises(httpx.TransportError):
        httpx.get(service.url.replace("https:", "http:"), trust_env=False)
    with connect(service, files) as connection:
        assert answered(connection)


def test_handshakes_that_never_end_keep_nobody_out(serve: StartService, files: Files) -> None:
    service = serve(**files.settings(), max_connections=50)
    port = httpx.URL(service.url).port or 0
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        with connect(service, files) as connection:
            assert answered(connection)
    finally:
        for one in held:
            one.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tls-certificate", "tls.crt"], "go together"),
        (["--tls-certificate", "none", "--tls-key", "tls.key"], "No such file"),
        (["--tls-certificate", "tls.key", "--tls-key", "tls.key"], "not a certificate and its key"),
    ],
)
def test_service_does_not_start_with_files_that_cannot_be_used(files: Files, words: list[str], said: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "k8s_mcp", "serve", "--port", "0", "--local-dir", "runs", *words],
        cwd=files.certificate.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
