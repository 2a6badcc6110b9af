"""A read-only run's credential reads and does nothing else, whatever the command says to its proxy.

The credential proxy's own script, with the real `kubectl proxy`, in front of an API server that writes down what
reaches it.
"""

import http.server
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.cluster import objects, read_only
from tests.support.service import wait_for

BASE = "/k8s/clusters/c-1"  # as with Rancher: what is in front of it is another cluster's, or the gateway's own
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "eA==",
}
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}


class ApiServer(http.server.ThreadingHTTPServer):
    """Answers everything with an empty object, and remembers the request lines."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        super().__init__(("127.0.0.1", 0), _Recorder)


class _Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # any method
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        server: Any = self.server
        server.seen.append(self.requestline.removesuffix(" HTTP/1.1"))
        self._read_body()
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")

    def _read_body(self) -> None:
        """As Kubernetes does: what is in it is no request."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Proxy:
    """A credential proxy for `access`, and what it lets through to its API server."""

    def __init__(self, directory: Path, access: str, kubectl: Path) -> None:
        self.api = ApiServer()
        threading.Thread(target=self.api.serve_forever, daemon=True).start()
        self.port = _free_port()
        (directory / "kubeconfig").write_text(
            f"""
            {{apiVersion: v1, kind: Config, current-context: it,
             clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{self.api.server_port}{BASE}"}}}}],
             users: [{{name: it, user: {{token: not-for-commands}}}}],
             contexts: [{{name: it, context: {{cluster: it, user: it}}}}]}}"""
        )
        (directory / "contexts").write_text("it\n")
        (directory / "access").write_text(access)
        container = objects.make_pod_spec("x", objects.PodTemplate(image="x"))["initContainers"][0]
        *shell, script = container["command"]
        script = script.replace("/run/k8s-mcp/credentials", str(directory))
        script = script.replace(f"port={objects.FIRST_PROXY_PORT}", f"port={self.port}")
        self._process = subprocess.Popen(
            [*shell, script],
            env={"PATH": f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(directory)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._listens, what="kubectl proxy")
        self.reached()  # what some builds of kubectl ask for first

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, data: bytes) -> str:
        """The first line of the answer to raw bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            answer = b""
            while b"\r\n" not in answer and (more := connection.recv(65536)):
                answer += more
        return answer.partition(b"\r\n")[0].decode()

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: str = "") -> str:
        given = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        if body:
            given["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return self.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode())

    def reached(self) -> list[str]:
        """What the API server was asked since the last look."""
        seen, self.api.seen = self.api.seen, []
        return seen

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self.api.shutdown()
        self.api.server_close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def _proxy(access: str, tmp_path_factory: pytest.TempPathFactory, kubectl: Path) -> Generator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), access, kubectl)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, kubectl: Path) -> Iterator[Proxy]:
    with _proxy("read-only", tmp_path_factory, kubectl) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def proxy_with_secrets(tmp_path_factory: pytest.TempPathFactory, kubectl: Path) -> Iterator[Proxy]:
    with _proxy("read-only-with-secrets", tmp_path_factory, kubectl) as proxy:
        yield proxy


READS = [
    "/version",
    "/api",
    "/apis",
    "/apis/",
    "/api/v1",
    "/apis/apps/v1",
    "/apis/apps",
    "/healthz",
    "/readyz/poststarthook/start-apiextensions-controllers",
    "/metrics",
    "/openapi/v2?timeout=32s",
    "/openapi/v3",
    "/openapi/v3/apis/apps/v1?hash=0F",
    PODS,
    f"{PODS}?watch=true&resourceVersion=1",
    f"{PODS}/web-0",
    f"{PODS}/web-0/log?follow=true",
    f"{PODS}/web-0/status",
    "/api/v1/pods?limit=500",
    "/api/v1/namespaces",
    "/api/v1/namespaces/default",
    "/api/v1/namespaces/default/status",
    "/api/v1/namespaces/secrets",  # a namespace of that name
    "/api/v1/namespaces/secrets/pods",
    "/api/v1/namespaces/default/configmaps/secrets",
    "/api/v1/nodes/node-1.example.com",
    "/apis/apps/v1/namespaces/default/deployments/web/scale",
    "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregate-to-view",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aaggregate-to-view",
    "/apis/example.com/v1alpha1/namespaces/default/widgets/one",
]


@pytest.mark.parametrize("target", READS)
def test_reading_works(proxy: Proxy, target: str) -> None:
    assert proxy.ask("GET", target) == "HTTP/1.1 200 OK"
    assert proxy.reached() == [f"GET {BASE}{target}"]


def test_head_works(proxy: Proxy) -> None:
    assert proxy.ask("HEAD", PODS) == "HTTP/1.1 200 OK"
    assert proxy.reached() == [f"HEAD {BASE}{PODS}"]


METHODS = [
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "get",
    "G",
    "GETPOST",
    "HEADER",
]


@pytest.mark.parametrize("method", METHODS)
def test_no_other_method_gets_through(proxy: Proxy, method: str) -> None:
    assert proxy.ask(method, PODS, body="{}") == "HTTP/1.1 403 Forbidden"
    assert proxy.reached() == []


SUBRESOURCES = [
    f"{PODS}/web-0/exec?command=id",
    f"{PODS}/web-0/attach?stdin=true",
    f"{PODS}/web-0/portforward?ports=80",
    f"{PODS}/web-0/proxy",
    f"{PODS}/web-0/proxy/admin?delete=everything",
    f"{PODS}/web-0/ephemeralcontainers",
    "/api/v1/namespaces/default/services/web/proxy/admin",
    "/api/v1/namespaces/default/services/https:web:443/proxy/",
    "/api/v1/nodes/node-1/proxy/run/default/web-0/web?cmd=id",  # the kubelet's own API
    "/api/v1/nodes/node-1/proxy/exec/default/web-0/web?command=id&output=1",
    "/api/v1/nodes/node-1/proxy/logs/",
    "/api/v1/proxy/nodes/node-1",
    "/api/v1/proxy/namespaces/default/pods/web-0",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/vm/console",
    "/logs/kube-apiserver.log",
    "/debug/pprof/profile",
    "/static/../../etc/passwd",
]


@pytest.mark.parametrize("headers", [{}, UPGRADE, SPDY], ids=["plain", "websocket", "spdy"])
@pytest.mark.parametrize("target", SUBRESOURCES)
def test_exec_attach_portforward_and_proxy_do_not_get_through(
    proxy: Proxy, target: str, headers: dict[str, str]
) -> None:
    """An upgraded GET of exec runs commands (the kubelet's proxy path does even where RBAC says `get` only)."""
    proxy.ask("GET", target, headers)
    assert proxy.reached() == []


SECRETS_IN_DISGUISE = [
    SECRETS,
    f"{SECRETS}/",
    f"{SECRETS}/token",
    f"{SECRETS}/token/status",
    "/api/v1/secrets",
    "/api/v1/secrets?watch=true",
    "/api/v1/secrets/",
    "/api/v1/watch/secrets",
    "/api/v1/watch/namespaces/default/secrets/token",
    "//api/v1/secrets",
    "/%2Fapi/v1/secrets",
    "/%2e%2e/api/v1/secrets",
    "/api//v1/secrets",
    "/api/v1//secrets",
    "/api/v1/%2Fsecrets",
    "/api/v1/./secrets",
    "/api/v1/%2e/secrets",
    "/api/v1/pods/../secrets",
    "/api/v1/pods/%2e%2e/secrets",
    "/api/v1/pods/..%2fsecrets",
    "/api/v1/namespaces/default%2Fsecrets",
    "/api/v1/namespaces/default%2fsecrets%2ftoken",
    "/api/v1/namespaces/default/%73ecrets",
    "/api/v1/namespaces/default/%2573ecrets",
    "/api/v1/namespaces/default/Secrets",
    "/api/v1/namespaces/default/SECRETS",
    "/API/v1/namespaces/default/secrets",
    "/api/v1/namespaces/default/secrets;x=1",
    "/api/v1/namespaces/default/pods;/../secrets",
    "/api/v1/namespaces/default/secrets%00",
    "/api/v1/namespaces/default/secrets%0a",
    "/api/v1/namespaces/default/secrets%20",
    "/api/v1/namespaces/default/secrets%3f",
    "/api/v1/namespaces//secrets",
    "/apis/apps/v1/namespaces/default/secrets",
    f"http://127.0.0.1{SECRETS}",
    f"http://elsewhere.example{SECRETS}",
    f"http:{SECRETS.removeprefix('/')}",
    f"{SECRETS}#/api/v1/pods",
    f"{SECRETS}?/api/v1/pods",
    "*",
]


@pytest.mark.parametrize("headers", [{}, UPGRADE, {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}])
@pytest.mark.parametrize("target", SECRETS_IN_DISGUISE)
def test_secrets_cannot_be_read(proxy: Proxy, target: str, headers: dict[str, str]) -> None:
    answer = proxy.ask("GET", target, headers)
    assert re.match(r"HTTP/1.1 (301|307|400|403|404) ", answer), answer
    assert proxy.reached() == []


BEYOND_THE_CLUSTER = [
    "/..",
    "/../c-2/api/v1/pods",
    "/%2e%2e/c-2/api/v1/pods",
    "/..%2fc-2/api/v1/pods",
    "/api/v1/%2e%2e/%2e%2e/%2e%2e/c-2",
    "/api/v1/pods/%2e%2e%2f%2e%2e",
    "/api/v1/pods/..%5c..",
    "/v3/tokens",
]


@pytest.mark.parametrize("target", BEYOND_THE_CLUSTER)
def test_no_path_leaves_the_server_path(proxy: Proxy, target: str) -> None:
    """Behind a gateway with many clusters, `..` would be another of them."""
    proxy.ask("GET", target)
    assert proxy.reached() == []


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_method_override_headers_change_nothing_here(proxy: Proxy, header: str) -> None:
    """Kubernetes knows none of them; and a path that could change something is not open to GET."""
    proxy.ask("POST", PODS, {header: "GET"}, "{}")
    proxy.ask("GET", f"{PODS}/web-0/exec", {header: "POST"})
    assert proxy.reached() == []


HIDDEN = f"DELETE {PODS}/web-0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SMUGGLED = [
    # both lengths; the chunked one ends first
    (
        f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(HIDDEN) + 5}\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    ),
    # two lengths
    f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    # a length for a body that is another request
    f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    # an encoding that only some read as chunked
    f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: xchunked\r\n\r\n{HIDDEN}",
    f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    # behind an upgrade that the server does not do
    f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n{HIDDEN}",
    (
        f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}"
    ),
    # within the request line, and in a header
    f"GET {PODS}\r\n{HIDDEN}",
    f"GET {PODS}%20HTTP/1.1%0d%0aX: HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{HIDDEN}",
    f"GET {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y\n\n{HIDDEN}",
    f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{HIDDEN}",
]


@pytest.mark.parametrize("data", SMUGGLED)
def test_no_request_is_smuggled_in_another(proxy: Proxy, data: str) -> None:
    proxy.send(data.encode())
    proxy.ask("GET", "/version")  # whatever was to be sent has been sent before this
    *before, last = proxy.reached()
    assert last == f"GET {BASE}/version"
    assert all(line == f"GET {BASE}{PODS}" for line in before)


@pytest.mark.parametrize("target", [SECRETS, f"{SECRETS}/token", "/api/v1/secrets?watch=true", PODS])
def test_secrets_can_be_read_where_that_is_allowed(proxy_with_secrets: Proxy, target: str) -> None:
    assert proxy_with_secrets.ask("GET", target) == "HTTP/1.1 200 OK"
    assert proxy_with_secrets.reached() == [f"GET {BASE}{target}"]


def test_nothing_else_is_allowed_with_secrets(proxy_with_secrets: Proxy) -> None:
    for method in METHODS:
        proxy_with_secrets.ask(method, SECRETS, body="{}")
    for target in SUBRESOURCES:
        proxy_with_secrets.ask("GET", target)
    proxy_with_secrets.ask("GET", "/api/v1/watch/secrets")
    assert proxy_with_secrets.reached() == []


@pytest.mark.parametrize("access", ["", "Full", "full read-only", "whatever", "*"])
def test_what_is_no_known_access_is_read_only(
    access: str, tmp_path_factory: pytest.TempPathFactory, kubectl: Path
) -> None:
    with _proxy(access, tmp_path_factory, kubectl) as proxy:
        proxy.ask("POST", PODS, body="{}")
        proxy.ask("GET", SECRETS)
        proxy.ask("GET", PODS)
        assert proxy.reached() == [f"GET {BASE}{PODS}"]


def test_full_access_lets_everything_through(tmp_path_factory: pytest.TempPathFactory, kubectl: Path) -> None:
    with _proxy("full", tmp_path_factory, kubectl) as proxy:
        for method, target in (("DELETE", PODS), ("POST", f"{PODS}/web-0/exec"), ("GET", SECRETS)):
            proxy.ask(method, target)
        assert proxy.reached() == [
            f"DELETE {BASE}{PODS}",
            f"POST {BASE}{PODS}/web-0/exec",
            f"GET {BASE}{SECRETS}",
        ]


def test_patterns_are_what_kubectl_takes_them_for() -> None:
    """It splits them at commas; and the script has them in single quotes."""
    for pattern in (read_only.ACCEPT_PATHS, read_only.REJECT_PATHS, read_only.REJECT_METHODS):
        assert "'" not in pattern
        for one in pattern.split(","):
            re.compile(one)
            assert one.startswith("^")


def test_pattern_for_methods_refuses_all_but_two() -> None:
    """Go's `$` is the text's end, as \\Z is here."""
    pattern = re.compile(read_only.REJECT_METHODS.replace("$", r"\Z"))
    assert [word for word in ("GET", "HEAD") if pattern.search(word)] == []
    others = ["", "G", "GE", "GETS", "GET ", "gET", "H", "HE", "HEA", "HEADS", "HEAT", "POST", "XGET", "GHEAD"]
    assert [word for word in others if not pattern.search(word)] == []
