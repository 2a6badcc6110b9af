"""What a model is told when something is wrong: what it can do next."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from k8s_mcp.mcp.tools import Offer
from tests.mcp import raw
from tests.mcp.clients import McpClient, data_of, python_http
from tests.mcp.conftest import Connect
from tests.support.service import Service, StartService

NONE_STORED = "No clusters are stored; ask the person to store one: `k8s-mcp clusters add NAME`"


@pytest.fixture
async def client(server: Service) -> AsyncIterator[McpClient]:
    async with python_http(f"{server.url}/mcp") as client:
        yield client


async def store(server: Service, kubeconfig: str, *names: str) -> None:
    async with raw.http(server) as http:
        for name in names:
            (await http.put(f"/clusters/{name}", json={"kubeconfig": kubeconfig})).raise_for_status()


async def test_wrong_name_is_answered_with_those_that_there_are(
    connect: Connect, serve: StartService, fake_kubeconfig: str
) -> None:
    service = serve()
    async with connect(service) as client:
        result = await client.call("run_command", command="true", cluster="produktion")
        assert result.is_error
        assert result.text.startswith(f"no such cluster. {NONE_STORED}")
        await store(service, fake_kubeconfig, "prod", "staging")
        result = await client.call("run_command", command="true", cluster="produktion")
    assert result.text == "no such cluster. There are: prod, staging"


async def test_no_cluster_at_all_is_answered_with_those_that_there_are(
    serve: StartService, fake_kubeconfig: str
) -> None:
    service = serve()
    await store(service, fake_kubeconfig, "prod")
    both = {"cluster": "prod", "kubeconfig": fake_kubeconfig}
    async with python_http(f"{service.url}/mcp") as client:
        for given in ({}, {"cluster": ""}, both, {"cluster": "prod", "clusters": ["prod"]}):
            result = await client.call("run_command", command="true", **given)
            assert result.is_error
            assert "send exactly one of `cluster`, `clusters` and `kubeconfig`. There are: prod" in result.text


async def test_many_names_are_not_all_repeated(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve()
    await store(service, fake_kubeconfig, *(f"c{number:02}" for number in range(40)))
    async with python_http(f"{service.url}/mcp") as client:
        result = await client.call("run_command", command="true", cluster="x")
    assert "c00, c01" in result.text
    assert result.text.endswith("c29 and 10 more (list_clusters)")


@pytest.mark.parametrize(
    "path",
    ["~/.kube/config", "/home/me/.kube/config", "C:\\Users\\me\\.kube\\config", "kubeconfig.yaml", "$KUBECONFIG"],
)
async def test_path_as_kubeconfig_does_not_lead_to_credentials_in_the_conversation(
    client: McpClient, path: str
) -> None:
    result = await client.call("run_command", command="true", kubeconfig=path)
    assert result.is_error
    assert "is a path" in result.text
    assert "Do not read the file into this conversation" in result.text
    assert "k8s-mcp clusters add NAME" in result.text


@pytest.mark.parametrize("kubeconfig", ["{", '{"kind":"Config"}', "apiVersion: v1", "a: b\nc: d"])
async def test_what_is_no_path_is_answered_as_always(client: McpClient, kubeconfig: str) -> None:
    result = await client.call("run_command", command="true", kubeconfig=kubeconfig)
    assert result.text.startswith("kubeconfig: ")
    assert "is a path" not in result.text


async def test_no_clusters_stored_says_who_can_store_one(client: McpClient) -> None:
    result = await client.call("list_clusters")
    assert result.text.startswith(NONE_STORED)
    assert data_of(result) == {"clusters": []}


async def test_timeout_says_how_long_it_was(client: McpClient, fake_kubeconfig: str) -> None:
    result = await client.call("run_command", command="sleep 60", kubeconfig=fake_kubeconfig, timeout=1)
    assert "\ntimed out after 1 s; give it a longer `timeout`" in result.text


async def test_lists_say_contexts_and_expiry(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve()
    await store(service, fake_kubeconfig, "prod")
    async with python_http(f"{service.url}/mcp") as client:
        result = await client.call("list_clusters")
    [cluster] = data_of(result)["clusters"]
    expected = f"contexts first, second, third; until {cluster['expires']}"
    assert result.text == f"prod: https://192.0.2.1:6443; {expected}"


# Arguments as models write them


async def test_whole_numbers_and_null_are_taken_however_they_are_written(
    connect: Connect, server: Service, fake_kubeconfig: str
) -> None:
    """60.0 is an integer in JSON Schema, and null is left out."""
    async with connect(server) as client:
        result = await client.call(
            "run_command",
            command="seq 3",
            kubeconfig=fake_kubeconfig,
            cluster=None,
            clusters=None,
            timeout=60.0,
            wait=30.0,
            stdin=None,
            read_only=None,
            dry_run=None,
        )
        assert not result.is_error, result.text
        page = await client.call(
            "read_output",
            run_id=data_of(result)["run_id"],
            start_line=None,
            max_lines=200.0,
            stream=None,
            grep=None,
            context=None,
            tail=2.0,
            column=None,
            wait=None,
        )
    assert data_of(page)["text"].endswith("2\n3")


async def test_null_is_left_out_everywhere(server: Service, fake_kubeconfig: str) -> None:
    """In the HTTP API as well; and an unknown field stays unknown, whatever its value."""
    async with raw.http(server) as http:
        stored = await http.put("/clusters/null", json={"kubeconfig": fake_kubeconfig, "ttl": None})
        assert stored.status_code in (200, 201), stored.text
        body: dict[str, Any] = {
            "command": "true",
            "cluster": "null",
            "kubeconfig": None,
            "timeout": None,
            "stdin": None,
        }
        assert (await http.post("/sse", json={**body, "read_only": None})).status_code == 200
        assert (await http.post("/sse", json={**body, "unknown": None})).status_code == 422
        await http.delete("/clusters/null")


@pytest.mark.parametrize("value", [60.5, "60", True, [60]])
async def test_what_is_no_whole_number_is_refused(client: McpClient, fake_kubeconfig: str, value: object) -> None:
    result = await client.call("run_command", command="true", kubeconfig=fake_kubeconfig, timeout=value)
    assert result.text.startswith("timeout: must be a whole number")


# Without kubeconfigs


async def test_model_is_never_asked_for_a_kubeconfig_where_the_operator_says_so(
    connect: Connect, serve: StartService, fake_kubeconfig: str
) -> None:
    service = serve(mcp_kubeconfig=False)
    await store(service, fake_kubeconfig, "prod")
    async with connect(service) as client:
        tools = {tool["name"]: tool for tool in await client.tools()}
        assert "kubeconfig" not in str(tools["run_command"]["inputSchema"])
        result = await client.call("run_command", command="true", kubeconfig=fake_kubeconfig)
        assert result.is_error
        assert result.text == "kubeconfig: is not taken here. There are: prod"
        result = await client.call("run_command", command="true")
        assert "send exactly one of `cluster` and `clusters`. There are: prod" in result.text
        assert not (await client.call("run_command", command="true", cluster="prod")).is_error


async def test_tool_that_only_reads_is_there_where_that_can_be_enforced(
    client: McpClient, fake_kubeconfig: str
) -> None:
    """tests/e2e/test_mcp.py has the other half."""
    assert "run_read_only" not in [tool["name"] for tool in await client.tools()]
    result = await client.call("run_read_only", command="true", kubeconfig=fake_kubeconfig)
    assert result.is_error
    assert "a run cannot be read-only here" in result.text


@pytest.mark.parametrize("tool", ["read_output", "cancel_run"])
async def test_run_that_is_not_there_is_answered_with_those_that_are(
    serve: StartService, fake_kubeconfig: str, tool: str
) -> None:
    async with python_http(f"{serve().url}/mcp") as client:
        refused = await client.call(tool, run_id="0" * 32)
        assert refused.is_error
        assert "There is none now. Run the command again, if it changes nothing; else ask" in refused.text
        started = [
            data_of(await client.call("run_command", command="true", kubeconfig=fake_kubeconfig)) for _ in "1234"
        ]
        refused = await client.call(tool, run_id="0" * 32)
    newest = ", ".join(f"{data['run_id']} (done)" for data in reversed(started[1:]))
    assert f"There are, newest first: {newest}." in refused.text


async def test_the_pod_of_the_command_in_a_listing_is_announced(serve: StartService) -> None:
    async with python_http(f"{serve().url}/mcp") as client:
        [tool] = [tool for tool in await client.tools() if tool["name"] == "run_command"]
    assert "Listings with -A may show the pod of the command itself, run-" in tool["description"]


async def test_a_dry_run_is_offered_where_it_can_be_enforced_and_takes_something_away(
    client: McpClient, fake_kubeconfig: str
) -> None:
    def offering(offer: Offer) -> list[str]:
        return [tool.name for tool in offer.tools() if "dry_run" in tool.input_schema["properties"]]

    assert offering(Offer()) == ["run_command", "run_read_only"]
    assert offering(Offer(access="dry_run")) == offering(Offer(access="read_only")) == []
    assert offering(Offer(can_be_read_only=False)) == []
    result = await client.call("run_command", command="true", kubeconfig=fake_kubeconfig, dry_run=True)
    assert result.is_error
    assert "nor a dry run" in result.text
