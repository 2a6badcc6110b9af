"""Debian's nginx in front of a service, with the configuration that docs/proxies.md shows."""

import os
import re
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from images.builder import packages
from images.builder.errors import NotPossibleError
from tests.deploy.certificate import Certificate
from tests.support.documents import ROOT, fences
from tests.support.left_out import leave_out
from tests.support.service import wait_for

_GUIDE = ROOT / "docs" / "proxies.md"
_MAIN = """\
daemon off;
{user}
pid {directory}/pid;
error_log {directory}/error.log notice;
events {{}}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{server}
}}
"""


def program() -> Path:
    """nginx, installed if need be and if that can be."""
    try:
        return packages.ensure("nginx", "is tried in front of the service", "nginx-light")
    except NotPossibleError as error:
        leave_out(f"no nginx here: {error}")


def configuration() -> str:
    """The server block of the guide."""
    [block] = [fence["text"] for fence in fences(_GUIDE) if fence["language"] == "nginx"]
    return block


def seconds(directive: str) -> float:
    """A time of the guide's configuration."""
    [value] = re.findall(rf"^\s*{directive} (\d+)s;", configuration(), re.MULTILINE)
    return float(value)


@contextmanager
def in_front_of(service: str, certificate: Certificate, directory: Path, **changed: str) -> Generator[str]:
    """Runs nginx for the service at that URL; yields nginx's own.

    Nothing of the guide's configuration is changed but places: port, files, the service's address; and the directives
    in `changed`.
    """
    nginx = program()
    port = _free_port()
    replaced = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "http://127.0.0.1:9096": service,
        "/etc/ssl/k8s-mcp/tls.crt": str(certificate.file),
        "/etc/ssl/k8s-mcp/tls.key": str(certificate.key),
    }
    server = configuration()
    for found, wanted in replaced.items():
        assert found in server, found
        server = server.replace(found, wanted)
    for directive, value in changed.items():
        server, count = re.subn(rf"^(\s*{directive}) [^;]+;", rf"\1 {value};", server, flags=re.MULTILINE)
        assert count == 1, directive
    user = "user root;" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(_MAIN.format(directory=directory, server=server, user=user))
    errors = directory / "error.log"
    process = subprocess.Popen([nginx, "-c", file, "-e", errors], stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or _answers(port), what="nginx to listen")
        assert process.poll() is None, errors.read_text()
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
