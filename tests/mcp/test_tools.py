"""What the tools promise to a model: bounded answers that can be read on, clear errors, no credential anywhere."""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.mcp.tools import Offer
from k8s_mcp.settings import Settings
from tests.mcp import raw
from tests.mcp.clients import McpClient, Result, data_of, python_http, until
from tests.mcp.conftest import Connect
from tests.support import kubeconfigs
from tests.support.kubeconfigs import CLIENT_KEY, CREDENTIALS, PASSWORD, TOKEN, credentials_in
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services

TEXT_LIMIT = 50_000
UNKNOWN_RUN = "0" * 32
SOME = "aé€😀"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared) -> Iterator[Service]:
    """One that keeps output longer than these tests take."""
    with services(tmp_path_factory.mktemp("server"), tools, how=prepared) as start:
        yield start(replay_seconds=600)


@pytest.fixture
async def client(server: Service) -> AsyncIterator[McpClient]:
    async with python_http(f"{server.url}/mcp") as client:
        yield client


async def run(client: McpClient, command: str, **arguments: object) -> Result:
    return await client.call("run_command", command=command, **{"kubeconfig": kubeconfigs.fake(), **arguments})


async def read_all(client: McpClient, run_id: str, **arguments: object) -> list[str]:
    """Every line, page by page, as a model that follows `next_line`."""
    lines: list[str] = []
    place: tuple[int | None, int] = (1, 1)
    while place[0]:
        line, column = place
        page = await client.call("read_output", run_id=run_id, start_line=line, column=column, **arguments)
        assert not page.is_error, page.text
        assert len(page.text) <= TEXT_LIMIT + 250
        text = re.sub(r"\[… characters left out: .*?\]", "", data_of(page)["text"])
        if column > 1:
            lines[-1] += text.split("\n")[0]
            lines += text.split("\n")[1:]
        else:
            lines += text.split("\n")
        place = (data_of(page)["next_line"], data_of(page)["next_column"] or 1)
        assert place != (line, column)
    return lines


def unnumbered(lines: list[str]) -> list[str]:
    """What was found by `grep`, without the line's number."""
    return [line.partition(":")[2] for line in lines]


# What a model is told


async def test_tools_take_little_of_a_models_context(client: McpClient) -> None:
    """Under 1,100 tokens for all of them. Estimated, at 3 characters a token: for JSON and English tokenizers need
    fewer tokens than that, and none can be had here that brings its vocabulary along.
    """
    everything = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in Offer().tools()]
    assert len(everything) > len(await client.tools())  # this executor cannot keep a run to reading
    shown = [{name: tool[name] for name in ("name", "description", "inputSchema")} for tool in everything]
    assert len(json.dumps(shown, separators=(",", ":"), ensure_ascii=False)) / 3 < 1100


async def test_tools_say_what_they_do(client: McpClient) -> None:
    tools = {tool["name"]: tool for tool in await client.tools()}
    assert {name: tool["annotations"] for name, tool in tools.items()} == {
        "run_command": {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        "read_output": {"readOnlyHint": True, "openWorldHint": False},
        "list_clusters": {"readOnlyHint": True, "openWorldHint": False},
        "cancel_run": {
            "readOnlyHint": False,
            "destructiveHint": True,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    }
    assert {name: list(tool["inputSchema"]["properties"]) for name, tool in tools.items()} == {
        "run_command": ["command", "cluster", "clusters", "kubeconfig", "timeout", "wait", "stdin"],
        "read_output": [
            "run_id",
            "start_line",
            "max_lines",
            "stream",
            "grep",
            "context",
            "tail",
            "column",
            "wait",
        ],
        "list_clusters": [],
        "cancel_run": ["run_id"],
    }
    for tool in tools.values():
        assert tool["title"]
        assert tool["description"]
        assert all(field["description"] for field in tool["inputSchema"]["properties"].values())


# Results


async def test_timeout_is_an_error_with_the_output_so_far(client: McpClient) -> None:
    result = await run(client, "echo before; sleep 60", timeout=1)
    assert result.is_error
    said = "timed out after 1 s; give it a longer `timeout`, or ask for less"
    assert result.text == f"$ echo before; sleep 60\n{said}\nbefore"
    assert data_of(result)["status"] == "timeout"
    assert data_of(result)["exit_code"] == 124


async def test_command_without_output_says_how_it_ended(client: McpClient) -> None:
    """And how long it took."""
    assert re.fullmatch(r"\$ true\nexit code 0 after [\d.]+ s", (await run(client, "true")).text)
    assert re.fullmatch(r"\$ false\nexit code 1 after [\d.]+ s", (await run(client, "false")).text)
    assert 1 <= data_of(await run(client, "sleep 1"))["seconds"] < 30


async def test_long_command_is_not_repeated_whole(client: McpClient) -> None:
    """The model has it already."""
    result = await run(client, "true " + "x" * 100_000)
    assert not result.is_error
    assert len(result.text) < 150
    assert result.text.startswith("$ true xxx")


async def test_characters_survive_wherever_their_bytes_are_split(client: McpClient) -> None:
    """Each byte is written on its own, so that every character arrives in pieces."""
    octets = " ".join(f"'\\x{byte:02x}'" for byte in SOME.encode())
    result = await run(client, f"for octet in {octets}; do printf $octet; sleep 0.05; done; printf '\\n\\xff\\n'")
    assert data_of(result)["stdout"] == f"{SOME}\n\ufffd\n"
    assert await read_all(client, data_of(result)["run_id"]) == [SOME, "\ufffd"]


async def test_characters_survive_in_long_output(client: McpClient) -> None:
    """Chunks, frames and batches end somewhere within a character."""
    line = SOME * 7
    result = await run(client, f"yes {line} | head -n 40000")
    assert "\ufffd" not in result.text
    assert set(await read_all(client, data_of(result)["run_id"], max_lines=5000)) == {line}


async def test_200_000_lines_are_bounded_in_the_answer_and_readable_to_the_last(client: McpClient) -> None:
    result = await run(client, "seq 200000")
    data = data_of(result)
    assert not result.is_error
    assert data["truncated"]
    assert data["total_lines"] == 200_000
    for text in (result.text, data["stdout"]):
        assert len(text) < TEXT_LIMIT + 500
    head, note, tail = (part.split("\n") for part in data["stdout"].partition("[… lines left out: 19"))
    assert head[:3] == ["1", "2", "3"]
    assert tail[-2:] == ["200000", ""]
    first_left_out = len(head)
    assert f'read_output(run_id="{data["run_id"]}", start_line={first_left_out})' in tail[0]
    assert note
    assert await read_all(client, data["run_id"], max_lines=5000) == list(map(str, range(1, 200_001)))


async def test_both_streams_have_their_room(client: McpClient) -> None:
    result = await run(client, "seq 100000; seq 100000 >&2; exit 1")
    assert len(data_of(result)["stdout"]) > TEXT_LIMIT / 2
    assert len(data_of(result)["stderr"]) > TEXT_LIMIT / 5
    assert result.text.endswith("\n100000")
    assert len(result.text) < TEXT_LIMIT + 800


async def test_note_about_a_cut_stream_leads_to_that_stream(client: McpClient) -> None:
    result = await run(client, "seq 100000; seq 100001 200000 >&2")
    data = data_of(result)
    for stream, first in (("stdout", 1), ("stderr", 100_001)):
        match = re.search(r'read_output\(run_id="(\w+)", start_line=(\d+), stream="(\w+)"\)', data[stream])
        assert match, data[stream][:1000]
        assert match[3] == stream
        head = data[stream].partition("[…")[0].split("\n")
        page = await client.call(
            "read_output", run_id=match[1], start_line=int(match[2]), stream=match[3], max_lines=1
        )
        assert data_of(page)["text"] == str(first + len(head) - 1)


async def test_result_says_until_when_its_output_can_be_read(client: McpClient) -> None:
    """15 minutes by default, for a person may have to be asked; here ten."""
    result = await run(client, "seq 100000")
    until = datetime.fromisoformat(data_of(result)["readable_until"])
    assert 590 < (until - datetime.now(UTC)).total_seconds() <= 600
    assert f"reads them until {data_of(result)['readable_until']} …]" in result.text
    assert Settings.model_fields["replay_seconds"].default == 900


async def test_limit_is_the_operators(serve: StartService) -> None:
    async with python_http(f"{serve(mcp_text_limit=1000).url}/mcp") as client:
        result = await run(client, "seq 10000")
        assert len(result.text) < 1400
        page = await client.call("read_output", run_id=data_of(result)["run_id"], max_lines=5000)
        assert len(page.text) < 1150
        assert data_of(page)["next_line"] == data_of(page)["lines"] + 1


# read_output


@pytest.fixture(scope="module")
async def mixed(server: Service) -> str:
    """A run of 1,000 lines: the odd ones on standard output, the even ones on standard error."""
    async with python_http(f"{server.url}/mcp") as client:
        command = (
            "for i in {1..1000}; do if ((i % 2)); then echo odd $i; else echo even $i >&2; fi; sleep 0.0005; done"
        )
        return data_of(await run(client, command))["run_id"]


async def test_lines_can_be_read_from_anywhere(client: McpClient, mixed: str) -> None:
    page = await client.call("read_output", run_id=mixed, start_line=500, max_lines=3)
    everything = await read_all(client, mixed)
    assert len(everything) == 1000
    assert data_of(page)["text"].split("\n") == everything[499:502]
    assert page.text.startswith(data_of(page)["text"] + "\n[more from line 503; 1000 lines in all]\n[exit code 0 ")
    assert {key: value for key, value in data_of(page).items() if key not in ("text", "readable_until")} == {
        "run_id": mixed,
        "status": "done",
        "exit_code": 0,
        "lines": 3,
        "next_line": 503,
        "next_column": None,
        "total_lines": 1000,
    }


async def test_one_stream_can_be_read(client: McpClient, mixed: str) -> None:
    assert await read_all(client, mixed, stream="stdout") == [f"odd {number}" for number in range(1, 1000, 2)]
    assert await read_all(client, mixed, stream="stderr", max_lines=7) == [f"even {n}" for n in range(2, 1001, 2)]


@pytest.mark.parametrize(
    ("grep", "lines"),
    [
        ("odd 99", [f"odd {number}" for number in (99, *range(991, 1000, 2))]),
        ("even 1000", ["even 1000"]),
        ("odd 1", [f"odd {number}" for number in range(1, 1000, 2) if str(number).startswith("1")]),
        ("dd", [f"odd {number}" for number in range(1, 1000, 2)]),
    ],
)
async def test_lines_can_be_searched(client: McpClient, mixed: str, grep: str, lines: list[str]) -> None:
    assert unnumbered(await read_all(client, mixed, grep=grep)) == lines
    assert unnumbered(await read_all(client, mixed, grep=grep, max_lines=len(lines) // 3 + 1)) == lines


async def test_lines_that_are_found_have_their_numbers(client: McpClient) -> None:
    run_id = data_of(await run(client, "seq -f 'line %.0f' 2000"))["run_id"]
    assert await read_all(client, run_id, grep="line 77", max_lines=5) == ["77:line 77"] + [
        f"{number}:line {number}" for number in range(770, 780)
    ]


async def test_what_is_around_a_match_can_be_read_with_it(client: McpClient) -> None:
    run_id = data_of(await run(client, "seq 2000"))["run_id"]
    page = await client.call("read_output", run_id=run_id, grep="100", context=1)
    expected = ["99-99", "100:100", "101-101", "--"]
    expected += [
        "999-999",
        *(f"{n}:{n}" for n in range(1000, 1010)),
        "1010-1010",
        "--",
        "1099-1099",
        "1100:1100",
        "1101-1101",
    ]
    assert data_of(page)["text"].split("\n") == expected
    for most in range(1, 8):  # wherever a page ends
        lines = await read_all(client, run_id, grep="100", context=1, max_lines=most)
        assert [line for line in lines if line != "--"] == [line for line in expected if line != "--"]


async def test_context_is_of_the_stream_that_is_read(client: McpClient, mixed: str) -> None:
    lines = await read_all(client, mixed, grep="odd 51", context=1, stream="stdout")
    assert [line[-6:] for line in lines[:3]] == ["odd 49", "odd 51", "odd 53"]


async def test_last_lines_can_be_read(client: McpClient, mixed: str) -> None:
    page = await client.call("read_output", run_id=mixed, tail=3, stream="stderr")
    assert data_of(page)["text"].split("\n")[-3:] == ["even 996", "even 998", "even 1000"]
    page = await client.call("read_output", run_id=mixed, tail=2, grep="odd 9")
    assert unnumbered(data_of(page)["text"].split("\n"))[-2:] == ["odd 997", "odd 999"]


async def test_last_lines_are_the_last_that_there_is_room_for(client: McpClient) -> None:
    run_id = data_of(await run(client, f"for i in {{1..100}}; do echo $i {'x' * 1000}; done"))["run_id"]
    page = await client.call("read_output", run_id=run_id, tail=80)
    lines = data_of(page)["text"].split("\n")
    assert lines[0] == f"[more before line {lines[1].split()[0]}]"
    assert [line.split()[0] for line in lines[1:]] == [str(number) for number in range(102 - len(lines), 101)]
    assert 45 < len(lines) <= 50


async def test_search_is_for_text_and_not_for_a_pattern(client: McpClient) -> None:
    run_id = data_of(await run(client, r"printf 'a.c\nabc\n\nA.C\n'"))["run_id"]
    assert await read_all(client, run_id, grep="a.c") == ["1:a.c"]
    assert await read_all(client, run_id, grep="") == ["a.c", "abc", "", "A.C"]
    for absent in ("x", "a.c\nabc", "\n"):
        page = await client.call("read_output", run_id=run_id, grep=absent)
        assert page.text.startswith("[no such lines]\n[exit code 0 ")
        assert data_of(page)["lines"] == 0


async def test_behind_the_last_line_there_is_nothing(client: McpClient, mixed: str) -> None:
    page = await client.call("read_output", run_id=mixed, start_line=1001)
    assert page.text.startswith("[no such lines]\n[exit code 0 ")
    assert data_of(page)["next_line"] is None


async def test_every_character_of_a_line_longer_than_an_answer_can_be_read(
    connect: Connect, serve: StartService, fake_kubeconfig: str
) -> None:
    """Such as JSON on one line, where the operator gives models less than a line may have."""
    command = "echo start; seq 14000 | head -c 30000 | tr '\\n' ,; echo; echo end"
    async with connect(serve(mcp_text_limit=25_000)) as client:
        result = await client.call("run_command", command=command, kubeconfig=fake_kubeconfig)
        run_id = data_of(result)["run_id"]
        page = await client.call("read_output", run_id=run_id, start_line=2)
        assert page.text.count("[… characters left out: 5000; start_line=2, column=25001 reads them]") == 1
        whole = "".join(f"{number}," for number in range(1, 14_001))[:30_000]
        assert await read_all(client, run_id) == ["start", whole, "end"]
        found = await client.call("read_output", run_id=run_id, grep="5900")
        match = re.search(r"start_line=(\d+), column=(\d+) reads them", found.text)
        assert match
        rest = await client.call("read_output", run_id=run_id, start_line=int(match[1]), column=int(match[2]))
        assert data_of(rest)["text"] == f"{whole[int(match[2]) - 1 :]}\nend"


async def test_output_can_be_read_while_the_command_runs(
    server: Service, client: McpClient, tmp_path: Path, fake_kubeconfig: str
) -> None:
    """The answer waits for a line that is not there yet."""
    command = f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo two; sleep 300"
    call = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
    await call.until_reported("one")
    run_id = server.get("/runs").json()["runs"][-1]["run_id"]
    page = await client.call("read_output", run_id=run_id)
    assert data_of(page)["text"] == "one"
    assert data_of(page)["status"] == "running"
    later = client.start("read_output", {"run_id": run_id, "start_line": 2})
    (tmp_path / "go").touch()
    assert data_of(await later.result())["text"] == "two"
    ended = await client.call("cancel_run", run_id=run_id)
    assert ended.text == "The command was told to end."
    assert data_of(await call.result())["status"] == "cancelled"
    ended = await client.call("cancel_run", run_id=run_id)
    assert ended.text == "The run had ended before: cancelled."
    assert data_of(ended) == {"run_id": run_id, "status": "cancelled"}


async def test_what_is_not_kept_is_said_to_be_missing(serve: StartService) -> None:
    async with python_http(f"{serve(replay_bytes=1 << 20).url}/mcp") as client:
        result = await run(client, "seq 400000")
        assert data_of(result)["total_lines"] == 400_000  # seen all the same, when it came
        page = await client.call("read_output", run_id=data_of(result)["run_id"], max_lines=1)
    note, line = data_of(page)["text"].split("\n")
    lost = int(line) - 1
    assert lost > 100_000
    assert note == f"[lines lost before line {line}: {lost}]"


# Errors


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("run_command", {}, "command: is missing"),
        ("run_command", {"command": " "}, "command: must not be empty"),
        ("run_command", {"command": 5}, "command: must be text"),
        ("run_command", {"command": None}, "command: is missing"),
        ("run_command", {"command": "a\0b"}, "command: must not contain NUL characters"),
        ("run_command", {"command": "x" * 131_072}, "command: must be at most 131071 bytes"),
        (
            "run_command",
            {"command": "ls", "kubeconfig": "", "cluster": ""},
            "send exactly one of `cluster`, `clusters` and",
        ),
        ("run_command", {"command": "ls", "kubeconfig": ["x"]}, "kubeconfig: must be text"),
        (
            "run_command",
            {"command": "ls", "kubeconfig": None},
            "send exactly one of `cluster`, `clusters` and `kubeconfig`",
        ),
        (
            "run_command",
            {"command": "ls", "cluster": "c"},
            "send exactly one of `cluster`, `clusters` and `kubeconfig`",
        ),
        ("run_command", {"command": "ls", "cluster": 1}, "cluster: must be text"),
        ("run_command", {"command": "ls", "timeout": 0}, "timeout: must be at least 1"),
        ("run_command", {"command": "ls", "timeout": "60"}, "timeout: must be a whole number"),
        ("run_command", {"command": "ls", "timeout": True}, "timeout: must be a whole number"),
        ("run_command", {"command": "ls", "timeout": 3601}, "timeout: must be at most 3600"),
        ("run_command", {"command": "ls", "stdin": {}}, "stdin: must be text"),
        ("run_command", {"command": "ls", "stdin": "x" * 921_600}, "together are over 921600 bytes"),
        ("run_command", {"command": "ls", "namespace": "default"}, "namespace: is no field of this request"),
        ("read_output", {"run_id": UNKNOWN_RUN}, "no such run; a finished run can be read for a limited time only"),
        ("read_output", {"run_id": "../x"}, "no such run"),
        ("read_output", {}, "run_id: is missing"),
        ("read_output", {"run_id": UNKNOWN_RUN, "start_line": 0}, "start_line: must be at least 1"),
        ("read_output", {"run_id": UNKNOWN_RUN, "start_line": 1.5}, "start_line: must be a whole number"),
        ("read_output", {"run_id": UNKNOWN_RUN, "max_lines": 0}, "max_lines: must be at least 1"),
        ("read_output", {"run_id": UNKNOWN_RUN, "max_lines": 5001}, "max_lines: must be at most 5000"),
        ("read_output", {"run_id": UNKNOWN_RUN, "stream": "both"}, "stream: is not accepted"),
        ("read_output", {"run_id": UNKNOWN_RUN, "grep": 1}, "grep: must be text"),
        ("cancel_run", {"run_id": UNKNOWN_RUN}, "no such run"),
        ("cancel_run", {"run_id": 1}, "run_id: must be text"),
        ("cancel_run", {}, "run_id: is missing"),
        ("list_clusters", {"all": True}, "all: is no field of this request"),
    ],
)
async def test_wrong_argument_is_named(
    client: McpClient, fake_kubeconfig: str, tool: str, arguments: dict[str, Any], message: str
) -> None:
    if tool == "run_command":
        arguments = {"kubeconfig": fake_kubeconfig, **arguments}
    result = await client.call(tool, **arguments)
    assert result.is_error
    assert message in result.text
    assert len(result.text) < 300
    assert credentials_in(result.text) == []


async def test_many_wrong_arguments_are_not_all_repeated(client: McpClient) -> None:
    wrong = {f"{number}{'x' * 1000}": number for number in range(1000)}
    result = await client.call("read_output", **wrong)
    assert result.is_error
    assert len(result.text) < 5000


async def test_kubeconfig_that_cannot_be_used_is_an_error(client: McpClient) -> None:
    for kubeconfig in ("{", f"token: {TOKEN}", kubeconfigs.fake().replace("first", "missing", 1)):
        result = await run(client, "true", kubeconfig=kubeconfig)
        assert result.is_error
        assert result.text.startswith("kubeconfig: ")
        assert credentials_in(result.text) == []


async def test_busy_service_says_so(serve: StartService, tmp_path: Path, fake_kubeconfig: str) -> None:
    async with python_http(f"{serve(max_runs=1).url}/mcp") as client:
        command = f"echo ready; until [ -e {tmp_path}/go ]; do sleep 0.02; done"
        first = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
        await first.until_reported("ready")
        refused = await run(client, "true")
        assert refused.is_error
        assert refused.text == "1 runs are in progress, the most this service allows; try again later"
        (tmp_path / "go").touch()
        assert not (await first.result()).is_error


# Stored clusters


async def test_stored_cluster_is_named_instead_of_its_kubeconfig(
    server: Service, client: McpClient, fake_kubeconfig: str
) -> None:
    """What a model sees of it is a name; `PUT /clusters/{name}` was somebody else's call."""
    assert (await client.call("list_clusters")).text.startswith("No clusters are stored; ask the person")
    async with raw.http(server) as http:
        (await http.put("/clusters/prod", json={"kubeconfig": fake_kubeconfig, "ttl": 60})).raise_for_status()
        listed = await client.call("list_clusters")
        [cluster] = data_of(listed)["clusters"]
        assert cluster["name"] == "prod"
        assert cluster["server"] == "https://192.0.2.1:6443"
        assert cluster["contexts"] == ["first", "second", "third"]
        assert 0 < (datetime.fromisoformat(cluster["expires"]) - datetime.now(UTC)).total_seconds() <= 60
        assert listed.text.startswith("prod: https://192.0.2.1:6443; contexts first, second, third; until 20")
        result = await client.call("run_command", command='grep current-context "$KUBECONFIG"', cluster="prod")
        assert not result.is_error
        assert "first" in data_of(result)["stdout"]
        printed = await client.call("run_command", command='cat "$KUBECONFIG"', cluster="prod")
        assert "[redacted]" in printed.text
        for said in (listed, result, printed):
            assert credentials_in(f"{said.text} {said.data}") == []
        await http.delete("/clusters/prod")
    assert data_of(await client.call("list_clusters")) == {"clusters": []}


async def test_cluster_that_is_not_there_says_nothing_more(
    server: Service, client: McpClient, fake_kubeconfig: str
) -> None:
    """Unknown, expired or removed: a model is told the same, and what to do."""
    async with raw.http(server) as http:
        for name, ttl in (("removed", 60), ("expired", 1)):
            (await http.put(f"/clusters/{name}", json={"kubeconfig": fake_kubeconfig, "ttl": ttl})).raise_for_status()
        await http.delete("/clusters/removed")
        await until(lambda: server.get("/clusters").json()["clusters"] == [], "the end of its time")
    said: set[str] = set()
    for name in ("unknown", "expired", "removed", "../x", "x" * 253):
        result = await client.call("run_command", command="true", cluster=name)
        assert result.is_error
        said.add(result.text)
    assert len(said) == 1
    assert "no such cluster" in said.pop()


# Secrecy


PRINTED = """
cat "$KUBECONFIG"; base64 "$KUBECONFIG"; base64 -w0 "$KUBECONFIG"; echo; tr -d '\\n' <"$KUBECONFIG"; echo
grep -o 'client-key-data.*' "$KUBECONFIG" | tr -d '", ' | cut -d: -f2 | base64 -d
printf %s marker-token; sleep 0.2; printf %s\\\\n -Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6
for i in {1..2000}; do cat "$KUBECONFIG"; done
"""


async def test_no_credential_is_in_any_answer_also_if_the_command_prints_it(
    server: Service, client: McpClient, fake_kubeconfig: str
) -> None:
    command = f"{{ {PRINTED} }} | tee /dev/stderr # {TOKEN} {PASSWORD}"
    call = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
    result = await call.result()
    data = data_of(result)
    assert data["total_lines"] > 4000
    assert "[redacted]" in result.text
    said = [call.reported, result.text, json.dumps(data, ensure_ascii=False)]
    for stream in ("stdout", "stderr"):
        said += await read_all(client, data["run_id"], stream=stream, max_lines=5000)
    said += [
        (await client.call("list_clusters")).text,
        json.dumps(server.get("/runs").json()),
        server.log.read_text(),
    ]
    everything = "\n".join(said)
    forms = [base64.b64encode(value.encode()).decode() for value in (TOKEN, PASSWORD, CLIENT_KEY)]
    forms += [base64.b64encode(f"{' ' * shift}{TOKEN}".encode())[4:40].decode() for shift in (1, 2)]
    assert [value for value in (*CREDENTIALS, *forms) if value in everything] == []


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_no_credential_is_in_the_log(serve: StartService, fake_kubeconfig: str, level: str) -> None:
    """Whatever is sent, and however: the SDK would log all of it."""
    service = serve(log_level=level)
    message = raw.tool("run_command", command=f"echo {TOKEN}", kubeconfig=fake_kubeconfig, stdin=PASSWORD)
    wrong = raw.tool("run_command", command=[TOKEN], kubeconfig={"token": TOKEN})
    wrong_params = raw.request("tools/call", name=[TOKEN], arguments=TOKEN)
    unknown_method = raw.request("tools/run", kubeconfig=fake_kubeconfig)
    async with raw.http(service) as http, raw.sse_session(http) as session:
        for sent in (message, wrong, wrong_params, unknown_method):
            for text in (await session.ask(sent), raw.answer(await http.post("/mcp", json=sent))):
                assert credentials_in(json.dumps(text)) == []
            in_2026, headers = raw.in_2026(sent)
            headers["Mcp-Name"] = "run_command"
            assert credentials_in((await http.post("/mcp", json=in_2026, headers=headers)).text) == []
        for garbage in (f'{{"jsonrpc": "2.0", "id": ["{TOKEN}"]', f'["{TOKEN}"]', f'{{"token": "{TOKEN}"}}'):
            for path in ("/mcp", "/sse", session.endpoint):
                headers = {"Content-Type": "application/json"}
                response = await http.post(path, content=garbage, headers=headers)
                assert response.status_code in (400, 422)
                assert credentials_in(response.text) == []
    assert credentials_in(service.log.read_text()) == []
