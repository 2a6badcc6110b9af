"""Many who follow at once: how late a line reaches each of them, what is lost, and what the service needs for it."""

import asyncio
import json
import os
import re
import resource
import statistics
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from bench.client import request
from bench.figures import Row, Sample, at_most, figure, median_at_most
from bench.memory import processor
from tests.support.service import Service

_RUNS = {2: 10, 20: 100, 200: 1000}
"""How many runs, and how many follow them, all together."""
_LINES = 20  # of each run, one a second
_COMMAND = f"for i in $(seq {_LINES}); do sleep 1; echo $EPOCHREALTIME; done"
_P50_MS, _P99_MS = 100, 1000
_MIB = 1 << 20
_START_SECONDS, _END_SECONDS = 120, 120
_END = b'"status": "done", "exit_code": 0'
_LINE = re.compile(rb"^data: (\d+\.\d+)\nid: (\d+)$", re.MULTILINE)


@dataclass
class _Seen:
    """By one follower: how late each line was, in seconds, and the ids."""

    late: list[float] = field(default_factory=list[float])
    ids: list[int] = field(default_factory=list[int])
    ended: bool = False


def measure(directory: Path, packed: tuple[bool, ...] = (False, True)) -> Iterator[Row]:
    """The rows of this part; each number of followers has a service of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        for runs, followers in _RUNS.items():
            for gzip in packed:
                home = directory / f"{followers}-{gzip}"
                home.mkdir()
                service = Service(
                    home, os.environ["PATH"], {"max_runs": runs, "max_connections": 2 * followers + 500}
                )
                try:
                    yield from asyncio.run(_rows(service, runs, followers, gzip=gzip))
                finally:
                    service.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _rows(service: Service, runs: int, followers: int, *, gzip: bool) -> list[Row]:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=_START_SECONDS) as client:
        ids = await asyncio.gather(*(_started(client) for _ in range(runs)))
    used, began = processor(service.pid), time.perf_counter()
    seen = [_Seen() for _ in range(followers)]
    async with asyncio.timeout(_LINES + _END_SECONDS), asyncio.TaskGroup() as group:
        for number, one in enumerate(seen):
            group.create_task(_follow(service.url, ids[number % runs], one, gzip=gzip))
    took = time.perf_counter() - began
    lines = sum(len(one.ids) for one in seen)
    lost = [one for one in seen if not one.ended or one.ids != list(range(1, _LINES + 1))]
    if lost:
        raise ValueError(f"{len(lost)} of {followers} followers have not seen all: {lost[0]}")
    cuts = statistics.quantiles([late * 1000 for one in seen for late in one.late], n=100, method="inclusive")
    share = (processor(service.pid) - used) / lines * 1e6
    what = f"{followers:,} follow {runs} runs{', gzip' if gzip else ''}"
    return [
        median_at_most(f"{what}: a line is late, p50", "ms", Sample.of([cuts[49]]), _P50_MS),
        at_most("  the same, p99", "ms", Sample.of([cuts[98]]), _P99_MS),
        figure("  lines a second to all of them", "", Sample.of([lines / took])),
        figure("  processor of the service for a line to one of them", "µs", Sample.of([share])),
        figure("  peak memory of the service", "MiB", Sample.of([service.peak_memory() / _MIB])),
    ]


async def _started(client: httpx.AsyncClient) -> str:
    """A run's id: whoever began it leaves at once."""
    async with client.stream("POST", "/sse", json=request(_COMMAND)) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                return str(json.loads(line.removeprefix("data: "))["run_id"])
    raise ValueError("a run has no beginning")


async def _follow(url: str, run_id: str, seen: _Seen, *, gzip: bool) -> None:
    """As plain as can be: the client must not be what is slow. Lines from before it came are not late."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    accept = "Accept-Encoding: gzip\r\n" if gzip else ""
    writer.write(f"GET /runs/{run_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n{accept}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or gzip != (b"content-encoding: gzip" in head.lower()):
        raise ValueError(head.decode())
    began = time.time()
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    while size := int(await reader.readline(), 16):
        piece = (await reader.readexactly(size + 2))[:-2]
        now = time.time()
        text = unpack.decompress(piece) if gzip else piece
        for stamp, number in _LINE.findall(text):
            seen.ids.append(int(number))
            if float(stamp) > began:
                seen.late.append(now - float(stamp))
        seen.ended = seen.ended or _END in text
    writer.close()
    await writer.wait_closed()
