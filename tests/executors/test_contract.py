"""What every executor promises, tried through a real service: events, exit codes, ends, replay, secrecy.

A command here may use bash, coreutils and kubectl, which every place where commands run has.
"""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import anyio
import pytest
import yaml

from k8s_mcp.runner.frames import EXIT, STDOUT, Encoder
from tests.support import kubeconfigs
from tests.support.client import Client
from tests.support.events import Event, Stream, Transcript
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services, wait_for

EXECUTORS: dict[str, type[Service]] = {"local": Service}

PIECE = 32 * 1024
READER_BYTES = 64 * 1024  # the longest line of many readers: Go's bufio.Scanner, asyncio's StreamReader
CANCELLED = {"status": "cancelled", "exit_code": None}


@pytest.fixture(scope="module", params=EXECUTORS)
def start_service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared
) -> Iterator[StartService]:
    """Starts services with that executor; at the end of the module each must end well and leave nothing."""
    with services(tmp_path_factory.mktemp(request.param), tools, EXECUTORS[request.param], prepared) as start:
        yield start


@pytest.fixture(scope="module")
def service(start_service: StartService) -> Service:
    return start_service(grace_period=2)


@pytest.fixture
async def client(service: Service, fake_kubeconfig: str) -> AsyncIterator[Client]:
    async with Client(service.url, fake_kubeconfig) as client:
        yield client


def done(exit_code: int) -> dict[str, object]:
    return {"status": "done", "exit_code": exit_code}


# Nobody sits before a command


async def test_editors_fail_with_a_sentence_and_pagers_print(client: Client) -> None:
    """They would wait for a person until the timeout."""
    names = "EDITOR VISUAL KUBE_EDITOR"
    seen = await client.run(
        f'echo $TERM; echo shown | $PAGER; for name in {names}; do sh -c "${{!name}} file"; echo $?; done', timeout=30
    )
    assert seen.stdout == ["dumb", "shown", "1", "1", "1"]
    assert seen.stderr == ["there is no editor here: use kubectl patch, set, or apply -f - instead"] * 3


# Output


async def test_output_is_live(client: Client) -> None:
    ahead = time.time() - time.monotonic()
    seen = await client.run("for i in 1 2 3 4 5 6; do echo $EPOCHREALTIME; sleep 0.3; done")
    delays = [event.at + ahead - float(event.data) for event in seen.events if event.name == "stdout"]
    assert len(delays) == 6
    assert median(delays) < 0.3, delays
    assert max(delays) < 1.2, delays


async def test_stdout_and_stderr_are_complete_and_in_order(client: Client) -> None:
    seen = await client.run("seq 100000 & seq 100001 200000 >&2; wait")
    assert seen.stdout == list(map(str, range(1, 100_001)))
    assert seen.stderr == list(map(str, range(100_001, 200_001)))
    assert seen.final == done(0)


async def test_ids_only_grow(client: Client) -> None:
    seen = await client.run("for i in {1..500}; do echo $i; echo $i >&2; done")
    ids = [event.id for event in seen.numbered if event.id is not None]
    assert all(earlier < later for earlier, later in pairwise(ids))
    assert len(ids) == 1001


async def test_long_line_without_newline_comes_in_pieces_of_32_kib(client: Client) -> None:
    seen = await client.run("head -c 5000000 /dev/zero | tr '\\0' x")
    assert max(map(len, seen.stdout)) == PIECE
    assert "".join(seen.stdout) == "x" * 5_000_000
    assert len(seen.stdout) == -(-5_000_000 // PIECE)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(r"head -c 65530 /dev/zero | tr '\0' x", id="text"),
        pytest.param(r"head -c 200000 /dev/zero | tr '\0' '\377'", id="no text at all"),
        pytest.param("head -c 300000 /dev/urandom", id="no text, mostly"),
        pytest.param(r"yes $'\377\n' | head -c 100000 | tr '\n' a", id="no text, in part"),
    ],
)
async def test_readers_that_stop_at_lines_of_64_kib_read_everything(client: Client, command: str) -> None:
    """Whatever is in a line: a byte that is no text becomes three."""
    body = client.body(command)
    async with client.http.stream("POST", "/sse", json=body) as response:
        stream = await response.aread()
    assert stream.endswith(b"\n\n")
    assert max(map(len, stream.split(b"\n\n"))) < READER_BYTES - 2
    assert b'"status": "done"' in stream


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        pytest.param(r"one\ntwo\n", ["one", "two"], id="lines"),
        pytest.param(r"10%%\r20%%\r30%%\r\ndone\r", ["10%", "20%", "30%", "done"], id="progress bar"),
        pytest.param(r"one\r\ntwo\r\n", ["one", "two"], id="CRLF"),
        pytest.param(r"\n\none\n\n", ["", "", "one", ""], id="empty lines"),
        pytest.param(r"\r\r\n\n", ["", "", ""], id="empty lines of every kind"),
        pytest.param(r"one\ntwo", ["one", "two"], id="no newline at the end"),
        pytest.param(r"", [], id="nothing"),
        pytest.param(r"a\0b\n\0", ["a\0b", "\0"], id="NUL"),
        pytest.param(r" one\n: two\ndata: three\n", [" one", ": two", "data: three"], id="looks like SSE"),
        pytest.param(r"a\xffb\xc3\n\xe2\x82", ["a\ufffdb\ufffd", "\ufffd"], id="not UTF-8"),
        pytest.param(r"\xed\xa0\x80\n", ["\ufffd\ufffd\ufffd"], id="surrogate"),
        pytest.param(r"\xef\xbb\xbfbom\n\xe2\x80\xa8\n", ["\ufeffbom", "\u2028"], id="BOM, line separator"),
        pytest.param(r"\x1b[1mbold\x1b[0m\n\x0b\x0c\x1c\n", ["\x1b[1mbold\x1b[0m", "\x0b\x0c\x1c"], id="ANSI"),
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_every_kind_of_text(client: Client, stream: str, output: str, lines: list[str]) -> None:
    seen = await client.run(f"printf '{output}'" + (" >&2" if stream == "stderr" else ""))
    assert seen.lines(stream) == lines
    assert len(seen.numbered) == len(lines) + 1, "and the final event"
    assert seen.final == done(0)


async def test_crlf_cut_in_two_is_one_line_end(client: Client) -> None:
    seen = await client.run(r"printf 'one\r'; sleep 0.2; printf '\ntwo\r'; sleep 0.2; printf '\rthree\n'")
    assert seen.stdout == ["one", "two", "", "three"]


async def test_characters_written_byte_by_byte_stay_whole(client: Client) -> None:
    text = "部署 🚀 déjà 👩‍👩‍👧"
    command = "sleep 0.02; ".join(rf"printf '\x{byte:02x}';" for byte in f"{text}\n".encode())
    assert (await client.run(command)).stdout == [text]


@pytest.mark.parametrize("character", ["é", "漢", "🚀"])
async def test_characters_cut_by_pieces_of_a_long_line_stay_whole(client: Client, character: str) -> None:
    width = len(character.encode())
    lines = ["a" * shift + character * (2 * PIECE // width) for shift in range(width)]
    seen = await client.run("cat", stdin="".join(f"{line}\n" for line in lines)[: 850 * 1024])
    assert "".join(seen.stdout) == "".join(lines)


async def test_stdin_reaches_the_command(client: Client) -> None:
    assert (await client.run("cat", stdin="eins\n zwei\n漢")).stdout == ["eins", " zwei", "漢"]
    assert (await client.run("wc -c", stdin="x" * 800_000)).stdout == ["800000"]


async def test_without_stdin_the_command_reads_an_end(client: Client) -> None:
    assert (await client.run("cat; echo end")).stdout == ["end"]


async def test_stdin_that_is_not_read_does_no_harm(client: Client) -> None:
    assert (await client.run("exit 4", stdin="x" * 800_000)).final == done(4)


async def test_command_of_the_greatest_length(client: Client) -> None:
    command = "echo '漢'; # " + "x" * 131_071
    longest = command.encode()[:131_071].decode()
    assert (await client.run(longest)).stdout == ["漢"]


# Exit codes and ends


async def test_exit_codes(client: Client) -> None:
    codes = [0, 1, 2, 3, 42, 63, 64, 100, 123, 124, 125, 126, 127, 128, 129, 130, 137, 143, 200, 254, 255]
    finals = await asyncio.gather(*(client.run(f"exit {code}") for code in codes))
    assert [seen.final for seen in finals] == [done(code) for code in codes]


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("kill -HUP $$", 129),
        ("kill -INT $$", 130),
        ("kill -KILL $$", 137),
        ("kill -PIPE $$", 141),
        ("kill -TERM $$", 143),
        ("bash -c 'kill -KILL $$'", 137),
        ("/etc/passwd", 126),
        ("no-such-command", 127),
        ("if then", 2),
        ("false | true", 0),
        ("set -o pipefail; false | true", 1),
    ],
)
async def test_exit_code_as_a_shell_has_it(client: Client, command: str, exit_code: int) -> None:
    assert (await client.run(command)).final == done(exit_code)


@pytest.mark.parametrize(
    "command",
    [
        "sleep 999 & exit 3",
        "sleep 999 >/dev/null 2>&1 & disown; exit 3",
        "setsid sleep 999 & exit 3",
        "trap '' TERM HUP; (while true; do echo noise; sleep 0.01; done) & exit 3",
    ],
)
async def test_run_ends_when_its_command_ends(client: Client, command: str) -> None:
    with anyio.fail_after(15):
        assert (await client.run(command)).final == done(3)


async def test_what_a_child_wrote_before_the_end_of_the_command_is_there(client: Client) -> None:
    seen = await client.run("(seq 50000; exec sleep 999) & sleep 0.5; exit 3")
    assert seen.stdout == list(map(str, range(1, 50_001)))


async def test_timeout(client: Client) -> None:
    seen = await client.run("seq 20000; echo error >&2; printf last; sleep 999", timeout=1)
    assert seen.stdout == [*map(str, range(1, 20_001)), "last"]
    assert seen.stderr == ["error"]
    assert seen.final == {"status": "timeout", "exit_code": 124, "timeout": 1}


async def test_command_that_ignores_sigterm_is_killed_after_the_grace_period(client: Client) -> None:
    command = "trap 'echo no' TERM; echo $SECONDS; while true; do sleep 0.1; done"
    seen = await client.run(command, timeout=1)
    assert seen.stdout[-1] == "no"
    assert seen.final == {"status": "timeout", "exit_code": 124, "timeout": 1}


async def test_exit_code_124_is_no_timeout(client: Client) -> None:
    assert (await client.run("timeout 0.1 sleep 9")).final == done(124)


async def test_delete_cancels(client: Client) -> None:
    async with client.stream("echo go; trap 'echo bye; exit' TERM; sleep 999 & wait") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        assert (await client.state(run_id))["status"] == "running"
        assert (await client.cancel(run_id))["run_id"] == run_id
        seen = await stream.to_end()
    assert seen.stdout == ["go", "bye"]
    assert seen.final == CANCELLED
    state = await client.cancel(run_id)
    assert state["status"] == "cancelled"
    assert state["exit_code"] is None


async def test_cancelled_at_once(client: Client) -> None:
    async with client.stream("sleep 999") as stream:
        await stream.first("control")
        await client.cancel(Transcript(stream.seen).run_id)
        with anyio.fail_after(30):
            assert (await stream.to_end()).final == CANCELLED


async def test_client_that_leaves_cancels_its_run_after_the_resume_window(
    start_service: StartService, fake_kubeconfig: str
) -> None:
    service = start_service(resume_window=1)
    async with Client(service.url, fake_kubeconfig) as client:
        async with client.stream("echo go; sleep 999") as stream:
            await stream.first("stdout")
        left = time.monotonic()
        run_id = Transcript(stream.seen).run_id
        assert (await client.state(run_id))["status"] == "running"
        wait_for(lambda: service.get(f"/runs/{run_id}").json()["status"] != "running")
        assert time.monotonic() - left > 0.9
        assert (await client.replay(run_id)).final == CANCELLED


# Coming back


async def test_client_that_comes_back_gets_exactly_the_rest(client: Client) -> None:
    async with client.stream("for i in {1..300}; do echo $i; sleep 0.01; done; exit 7") as stream:
        seen = await read(stream, 20)
        run_id = Transcript(stream.seen).run_id
    while not seen[-1].is_final:
        async with client.follow(run_id, seen[-1].id) as stream:
            seen += await read(stream, 100)
    assert Transcript(seen).stdout == list(map(str, range(1, 301)))
    assert [event.id for event in Transcript(seen).numbered] == list(range(1, 302))
    assert Transcript(seen).final == done(7)


async def read(stream: Stream, count: int) -> list[Event]:
    """The next events of the stream, at most so many."""
    events: list[Event] = []
    async for event in stream:
        events.append(event)
        if len(events) == count:
            break
    return events


async def test_replay_of_a_finished_run_is_exact(client: Client) -> None:
    live = await client.run("seq 3000; seq 3000 >&2; printf 'a\\rb\\xff'; exit 9")
    assert (await client.replay(live.run_id)).events == live.events
    for after in (0, 1, 2, 2999, 3000, 5999, 6001, 6002):
        rest = [event for event in live.numbered if event.id is not None and event.id > after]
        assert (await client.replay(live.run_id, after)).events == rest
    events = f"/runs/{live.run_id}/events"
    for after in ("6003", "9999"):
        assert (await client.http.get(events, headers={"Last-Event-ID": after})).status_code == 204


async def test_two_readers_get_the_same(client: Client) -> None:
    async with client.stream("for i in {1..50}; do echo $i; sleep 0.01; done") as stream:
        await stream.first("control")
        second = asyncio.create_task(client.replay(Transcript(stream.seen).run_id))
        first = await stream.to_end()
        assert (await second).events == first.events


async def test_state_of_a_finished_run(client: Client) -> None:
    seen = await client.run("printf 'a\\nb'; echo c >&2; exit 3", timeout=77)
    state = await client.state(seen.run_id)
    assert state["status"] == "done"
    assert state["exit_code"] == 3
    assert state["timeout"] == 77
    assert state["cluster"] == "https://192.0.2.1:6443"
    assert state["bytes"] == 5
    assert state["lines"] == 3
    assert state["created"] <= state["started"] <= state["ended"]


async def test_idempotency_key_joins_the_run_it_started(client: Client) -> None:
    command = "echo $RANDOM $RANDOM $RANDOM $EPOCHREALTIME; sleep 1; echo end"
    first, second = await asyncio.gather(client.run(command, key="one"), client.run(command, key="one"))
    third = await client.run(command, key="one")
    assert first.events == second.events == third.events
    assert first.run_id == third.run_id
    assert (await client.run(command, key="two")).run_id != first.run_id


async def test_idempotency_key_of_another_request_is_refused(client: Client) -> None:
    await client.run("echo one", key="taken")
    for body in (client.body("echo two"), client.body("echo one", timeout=9)):
        response = await client.http.post("/sse", json=body, headers={"Idempotency-Key": "taken"})
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == ["Idempotency-Key"]


# Secrecy


def forged_frames() -> str:
    """Frames such as the runner writes, with other content, in the numbers that could be next."""
    encoder = Encoder()
    frames = b""
    for number in (*range(1, 40), 1000):
        encoder.frames = number
        frames += encoder.output(STDOUT, b"forged\n")
        encoder.frames = number
        frames += encoder.control(EXIT, "done 0")
    return frames.decode()


@pytest.mark.parametrize("place", ["/proc/$PPID/fd/1", "/proc/$PPID/fd/2", "/dev/termination-log"])
async def test_command_cannot_forge_events(client: Client, place: str) -> None:
    command = f"""
        frames=$(cat)
        echo before
        if [ -e {place} ]; then echo "$frames" >{place}; sleep 0.2; fi 2>/dev/null
        echo "$frames" | head -4
        exit 5
    """
    seen = await client.run(command, stdin=forged_frames())
    assert seen.stdout == ["before", *forged_frames().splitlines()[:4]]
    assert seen.final == done(5)


async def test_command_has_no_descriptors_but_its_streams(client: Client) -> None:
    seen = await client.run("ls /proc/$$/fd; exit 0")
    assert set(seen.stdout) <= {"0", "1", "2", "255"}


async def test_printed_kubeconfig_holds_no_credential(client: Client, kubectl: Path) -> None:
    seen = await client.run(
        """
        cat $KUBECONFIG
        kubectl config view --raw
        kubectl config view --raw -o json
        base64 -w0 $KUBECONFIG; echo
        for i in 0 1 2; do
            for key in token password client-key-data; do
                value=$(kubectl config view --raw -o "jsonpath={.users[$i].user.$key}")
                echo "$value"; echo "$value" | base64 -d; echo "$value" | base64 -w0
            done
        done
        cat $KUBECONFIG >&2
        env
        """
    )
    text = "\n".join([*seen.stdout, *seen.stderr])
    assert kubeconfigs.credentials_in(text) == []
    for value in (kubeconfigs.TOKEN, json.dumps(kubeconfigs.PASSWORD)[1:-1], kubeconfigs.CLIENT_KEY_DATA):
        assert not [form for form in encoded(value) if form in text]
    assert "ns-second" in text


def spellings(value: str) -> list[str]:
    """The value, and its base64 at the beginning of a text and within one."""
    texts = [value, *(f"{before}{value}|" for before in ("|", "||", "|||"))]
    return [value, *(base64.b64encode(text.encode()).decode() for text in texts)]


def encoded(value: str) -> Iterator[str]:
    """Its base64 as it looks in the base64 of a longer text, without the characters that depend on that text."""
    content = value.encode()
    for skip in range(3):
        yield base64.b64encode(content[skip:][: (len(content) - skip) // 3 * 3]).decode()


async def test_credentials_are_masked_in_every_spelling(client: Client) -> None:
    values = [kubeconfigs.TOKEN, kubeconfigs.PASSWORD, kubeconfigs.CLIENT_KEY_DATA]
    lines = [spelling for value in (*values, kubeconfigs.CLIENT_KEY) for spelling in spellings(value)]
    seen = await client.run("cat", stdin="\n".join(lines))
    text = "\n".join(seen.stdout)
    assert text.count("[redacted]") == len(values) * 5 + 4 + 4  # the key itself has four lines between its dashes
    assert kubeconfigs.credentials_in(text) == []
    for value in (*values, kubeconfigs.CLIENT_KEY):
        assert not [form for form in encoded(value) if form in text]


async def test_credentials_cut_by_chunks_are_masked(client: Client) -> None:
    token = kubeconfigs.TOKEN
    command = f"dd bs=1 count={len(token) // 2} status=none; sleep 0.3; cat"
    assert (await client.run(command, stdin=f"{token}\nend")).stdout == ["[redacted]", "end"]


async def test_credentials_cut_by_pieces_of_a_long_line_are_masked(client: Client) -> None:
    token = kubeconfigs.TOKEN
    shifts = [1, 2, 7, 8, len(token) // 2, len(token) - 1]
    lines = ["x" * (PIECE - shift) + token + "end" for shift in shifts]
    seen = await client.run("cat", stdin="\n".join(lines))
    assert "".join(seen.stdout) == "".join("x" * (PIECE - shift) + "[redacted]end" for shift in shifts)


async def test_kubeconfig_is_writable(client: Client, kubectl: Path) -> None:
    seen = await client.run(
        """
        kubectl config current-context
        kubectl config use-context third
        kubectl config current-context
        kubectl config set-context --current --namespace=other
        kubectl config view --minify -o jsonpath={..namespace}
        """
    )
    assert seen.stdout[0::2] == ["first", "third", "other"]
    assert seen.final == done(0)


# Many at once


def renamed(kubeconfig: str, context: str) -> str:
    """The kubeconfig, its current context named otherwise."""
    config = yaml.safe_load(kubeconfig)
    current = next(entry for entry in config["contexts"] if entry["name"] == config["current-context"])
    return yaml.safe_dump({**config, "contexts": [{**current, "name": context}], "current-context": context})


def uid(kubectl: Path, kubeconfig: Path) -> str:
    """What tells one cluster from another."""
    command = [kubectl, f"--kubeconfig={kubeconfig}", "get", "--raw=/api/v1/namespaces/kube-system"]
    output = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    return json.loads(output)["metadata"]["uid"]


async def test_50_runs_at_once_on_two_clusters_do_not_see_each_other(
    client: Client, kubeconfig: str, second_kubeconfig: str, kubectl: Path, tmp_path: Path
) -> None:
    """Each sees its own kubeconfig only, and its own cluster."""
    command = """
        kubectl config get-contexts -o name
        kubectl get --raw=/api/v1/namespaces/kube-system
        ls "$(dirname "$KUBECONFIG")" | grep -c kubeconfig
        kubectl config current-context >&2
    """
    uids: list[str] = []
    for content in (kubeconfig, second_kubeconfig):
        (tmp_path / "kubeconfig").write_text(content)
        uids.append(uid(kubectl, tmp_path / "kubeconfig"))
    assert uids[0] != uids[1]

    async def one(number: int) -> None:
        content = (kubeconfig, second_kubeconfig)[number % 2]
        seen = await client.run(command, kubeconfig=renamed(content, f"run-{number}"))
        assert seen.final == done(0), seen.stderr
        assert seen.stdout[0] == f"run-{number}"
        assert json.loads(seen.stdout[1])["metadata"]["uid"] == uids[number % 2]
        assert seen.stdout[2:] == ["1"]
        assert seen.stderr == [f"run-{number}"]

    await asyncio.gather(*(one(number) for number in range(50)))
