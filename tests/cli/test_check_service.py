"""`k8s-mcp check` says all for which `serve` would not start, and more, a line each."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prepared import Prepared
from tests.support.service import Service

Check = Callable[..., tuple[int, dict[str, dict[str, str]], str]]


@pytest.fixture
def check(prepared: Prepared, tmp_path: Path) -> Check:
    """Runs it, without kubectl, so that no run is tried: the exit code, findings by what they are about, stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K8S_MCP_")}

    def run(*words: str, **environment: str) -> tuple[int, dict[str, dict[str, str]], str]:
        given = {**kept, "PATH": "/nowhere", **environment}
        done = prepared.run("local", ["check", "--json", *words], given, tmp_path)
        said = done.stderr.decode()
        assert "Traceback" not in said
        return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)["checks"]}, said

    return run


@pytest.mark.parametrize(
    ("settings", "what", "said"),
    [
        ({"AUTH_TOKENS": "/nope"}, "tokens", "the tokens in /nope: No such file or directory"),
        ({"OIDC_ISSUER": "http://x", "OIDC_AUDIENCES": "a"}, "OpenID Connect", "must begin with https://"),
        ({"OIDC_ISSUER": "https://127.0.0.1:1"}, "OpenID Connect", "K8S_MCP_OIDC_AUDIENCES"),
        ({"OIDC_ISSUER": "https://127.0.0.1:1", "OIDC_AUDIENCES": "a"}, "OpenID Connect", "cannot get the keys"),
        ({"TLS_KEY": "/nope"}, "TLS", "go together"),
        ({"TLS_KEY": "/nope", "TLS_CERTIFICATE": "/nope"}, "TLS", "No such file or directory"),
        ({"HOST": "0.0.0.0"}, "address", "refusing to listen on 0.0.0.0"),
        ({"HOST": "192.0.2.1", "INSECURE_NO_AUTH": "1"}, "address", "cannot listen on 192.0.2.1:9096: "),
        ({"HOST": "a" * 70, "INSECURE_NO_AUTH": "1"}, "address", "cannot listen on aaa"),
        ({"POLICY": "/nope"}, "policy", "/nope"),
    ],
)
def test_what_keeps_the_service_from_starting_is_a_finding(
    check: Check, settings: dict[str, str], what: str, said: str
) -> None:
    code, found, _ = check(**{f"K8S_MCP_{name}": value for name, value in settings.items()})
    assert code == 1
    assert found[what]["status"] == "failed"
    assert said in found[what]["said"]
    assert found[what]["advice"]


def test_what_is_right_is_said_as_well(check: Check, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    _, found, _ = check("--auth-tokens", str(tmp_path / "tokens"), "--host", "0.0.0.0", "--port", "0")
    assert found["tokens"]["status"] == found["address"]["status"] == "ok"


def test_a_port_in_use_is_told_from_the_service_itself(check: Check, server: Service) -> None:
    port = server.url.rpartition(":")[2]
    _, found, _ = check("--port", port)
    assert (found["address"]["status"], found["address"]["said"]) == (
        "note",
        f"a k8s-mcp service listens on 127.0.0.1:{port}",
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        _, found, _ = check("--port", str(other.getsockname()[1]))
    assert found["address"]["status"] == "failed"
    assert "Address already in use" in found["address"]["said"]
