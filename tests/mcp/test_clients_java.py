"""The SDK for Java, over each transport."""

import httpx
import pytest

from tests.mcp.java_packages import JavaClient
from tests.support.service import Service

TOOLS = "run_command read_output list_clusters cancel_run"


@pytest.mark.parametrize(("transport", "path"), [("http", "/mcp"), ("http", "/sse"), ("sse", "/sse")])
def test_client_for_java_runs_a_command_and_reads_it_to_its_end(
    java: JavaClient, server: Service, fake_kubeconfig: str, transport: str, path: str
) -> None:
    """With what other readers take for the end of a line in its output."""
    body = {"kubeconfig": fake_kubeconfig}
    httpx.put(f"{server.url}/clusters/java", json=body, trust_env=False).raise_for_status()
    command = "sleep 1.5; printf 'a\\u2028b\\u0085c\\n'"
    tools, began, *rest = java(transport, f"{server.url}{path}", command, "java", 1)
    assert tools == TOOLS
    assert "still running after" in began
    assert any("a\u2028b\x85c\n" in text for text in rest)
    assert "[exit code 0 after " in rest[-1]
