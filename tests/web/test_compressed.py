"""Streams in gzip: for who asks, and so that each line can be read when it was written."""

import json
import os
import subprocess
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from k8s_mcp.web import sse
from k8s_mcp.web.compressed import Gzip, asked_for
from tests.support.service import Service

Reading = Callable[[str, str, Path], AbstractContextManager[Iterator[str]]]
LINES = 3


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("GZIP", True),
        ("x-gzip ; q=0.5", True),
        ("", False),
        ("identity", False),
        ("deflate, br", False),
        ("gzip;q=0, deflate", False),
        ("gzip; q=0.000", False),
        ("*", False),
        ("gzippy", False),
    ],
)
def test_only_who_names_gzip_gets_it(header: str, asked: bool) -> None:
    assert asked_for(header) is asked


def test_each_piece_can_be_read_when_it_is_there() -> None:
    gzip, reader = Gzip(), zlib.decompressobj(zlib.MAX_WBITS | 16)
    for piece in (sse.PING, os.urandom(300_000), b"event: stdout\ndata: x\nid: 1\n\n", b"ab" * 200_000, sse.PING):
        assert reader.decompress(gzip.piece(piece)) == piece
    assert reader.decompress(gzip.end()) == b""
    assert reader.eof


def stepping(directory: Path) -> str:
    """A command that prints a line, and the next one when a file says that somebody has seen it."""
    wait = f"until [ -e {directory}/$line ]; do sleep 0.02; done"
    return f"for line in $(seq {LINES}); do echo $line; {wait}; done"


def body(command: str, kubeconfig: str) -> str:
    return json.dumps({"command": command, "kubeconfig": kubeconfig})


@contextmanager
def with_curl(url: str, request: str, directory: Path) -> Generator[Iterator[str]]:
    head = directory / "head"
    options = ["-sSN", "--compressed", "--noproxy", "*", "--dump-header", str(head), "--max-time", "60"]
    curl = ["curl", *options, "-H", "Content-Type: application/json", "--data-binary", request, f"{url}/sse"]
    with subprocess.Popen(curl, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield (line.rstrip("\n") for line in running.stdout)
    assert running.returncode == 0
    assert "content-encoding: gzip" in head.read_text().lower()


@contextmanager
def with_httpx(url: str, request: str, directory: Path) -> Generator[Iterator[str]]:
    headers = {"Content-Type": "application/json"}
    with (
        httpx.Client(base_url=url, trust_env=False, timeout=60) as http,
        http.stream("POST", "/sse", content=request, headers=headers) as response,
    ):
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["vary"] == "Accept-Encoding"
        yield response.iter_lines()


@pytest.mark.parametrize("reading", [with_curl, with_httpx])
def test_a_client_that_asks_for_gzip_reads_line_by_line(
    server: Service, fake_kubeconfig: str, tmp_path: Path, reading: Reading
) -> None:
    with reading(server.url, body(stepping(tmp_path), fake_kubeconfig), tmp_path) as lines:
        seen: list[str] = []
        for line in lines:
            if line.startswith("data: ") and "{" not in line:
                seen.append(line.removeprefix("data: "))
                (tmp_path / seen[-1]).touch()
    assert seen == [str(number) for number in range(1, LINES + 1)]


def test_much_output_is_the_same_and_a_fraction_of_the_bytes(server: Service, fake_kubeconfig: str) -> None:
    """Without being asked the service sends it as it is."""
    request = body("seq 300000", fake_kubeconfig)
    read: list[tuple[bytes, int, str]] = []
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        for encoding in ("identity", "gzip"):
            headers = {"Content-Type": "application/json", "Accept-Encoding": encoding}
            with http.stream("POST", "/sse", content=request, headers=headers) as response:
                text = b"".join(response.iter_bytes())
                read.append((text, response.num_bytes_downloaded, response.headers.get("content-encoding", "")))
    (plain, as_it_is, none), (unpacked, packed, gzip) = read
    assert (none, gzip) == ("", "gzip")
    assert unpacked.partition(b"\n\n")[2] == plain.partition(b"\n\n")[2], "behind the run's id"
    assert packed < as_it_is / 5
