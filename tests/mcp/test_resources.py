"""A run's whole output as a resource: linked where a result is cut, and readable in pages."""

import mcp_types as types
import pytest
from mcp import ClientSession, MCPError

from tests.mcp import raw
from tests.mcp.clients import PythonClient, data_of, python_http, python_sse
from tests.mcp.conftest import Connect
from tests.support.service import Service


async def test_result_that_is_cut_links_to_all_of_the_output(
    connect: Connect, server: Service, fake_kubeconfig: str
) -> None:
    async with connect(server) as client:
        cut = await client.call("run_command", command="seq 100000", kubeconfig=fake_kubeconfig)
        whole = await client.call("run_command", command="seq 10", kubeconfig=fake_kubeconfig)
    assert cut.links == (f"k8s-mcp://runs/{data_of(cut)['run_id']}/output",)
    assert whole.links == ()


@pytest.mark.parametrize("kind", ["sse", "http"])
async def test_output_is_read_page_by_page(server: Service, fake_kubeconfig: str, kind: str) -> None:
    open_client, path = {"sse": (python_sse, "/sse"), "http": (python_http, "/mcp")}[kind]
    async with open_client(f"{server.url}{path}") as client:
        result = await client.call("run_command", command="seq 30000", kubeconfig=fake_kubeconfig)
        lines: list[str] = []
        uri: str | None = result.links[0]
        while uri:
            text = await read(client, uri)
            assert len(text) < 50_500
            page, _, more = text.partition("\n[more: ")
            uri = more.removesuffix("]") or None
            lines += page.split("\n")
        assert lines == [str(number) for number in range(1, 30_001)]


async def test_runs_are_listed_and_the_template_says_how_to_read(server: Service, fake_kubeconfig: str) -> None:
    async with python_http(f"{server.url}/mcp") as client:
        run_id = data_of(await client.call("run_command", command="true", kubeconfig=fake_kubeconfig))["run_id"]
        assert isinstance(client.session, ClientSession)
        listed = (await client.session.list_resources()).resources
        assert listed[0].uri == f"k8s-mcp://runs/{run_id}/output"
        [template] = (await client.session.list_resource_templates()).resource_templates
        assert template.uri_template == "k8s-mcp://runs/{run_id}/output{?start_line,column}"


@pytest.mark.parametrize(
    "uri",
    [
        "k8s-mcp://runs/00000000000000000000000000000000/output",
        "k8s-mcp://runs/output",
        "k8s-mcp://clusters/x",
        "k8s-mcp://runs/../output",
        "k8s-mcp://runs/{run}/output?start_line=0",
        "k8s-mcp://runs/{run}/output?start_line=-1",
        "k8s-mcp://runs/{run}/output?start_line=99999999999999999999",
        "k8s-mcp://runs/{run}/output?grep=x",
        "file:///etc/passwd",
        "k8s-mcp://[/output",
    ],
)
async def test_what_is_not_there_is_an_error(server: Service, fake_kubeconfig: str, uri: str) -> None:
    async with python_http(f"{server.url}/mcp") as client:
        run_id = data_of(await client.call("run_command", command="true", kubeconfig=fake_kubeconfig))["run_id"]
        with pytest.raises(MCPError, match="no such"):
            await read(client, uri.replace("{run}", run_id))


async def test_client_of_an_older_protocol_gets_no_link(server: Service, fake_kubeconfig: str) -> None:
    """Their SDKs refuse a result with something in it that they do not know."""
    message = raw.tool("run_command", command="seq 100000", kubeconfig=fake_kubeconfig)
    async with raw.http(server) as http:
        for version, kinds in (("2025-03-26", ["text"]), ("2025-06-18", ["text", "resource_link"])):
            answer = raw.answer(await http.post("/mcp", json=message, headers={"MCP-Protocol-Version": version}))
            assert [content["type"] for content in answer["result"]["content"]] == kinds


async def read(client: PythonClient, uri: str) -> str:
    assert isinstance(client.session, ClientSession)
    [content] = (await client.session.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    return content.text
