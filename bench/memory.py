"""What processes use: the peak memory of those that come and go, processor time, and a service's memory over time."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from k8s_mcp.beside import beside
from tests.soak import growth
from tests.support.service import Service

_LOOK_SECONDS = 0.02
_SAMPLE_SECONDS = 5.0


class PeakOfRunner:
    """Watches the children of the process `pid`: `peak` is the most bytes that any of them ever had (VmHWM)."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(_LOOK_SECONDS):
            for task in Path(f"/proc/{self._pid}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    for child in (task / "children").read_text().split():
                        self.peak = max(self.peak, _peak_memory(child))


def processor(pid: int) -> float:
    """Seconds of processor time that the process has used, its children left out."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def sampled(service: Service) -> AsyncGenerator[list[growth.Sample]]:
    """What the service holds, every few seconds while the context lasts."""
    samples: list[growth.Sample] = []

    async def look() -> None:
        while True:
            samples.extend(growth.sample(service.pid))
            await asyncio.sleep(_SAMPLE_SECONDS)

    async with beside(look):
        yield samples


def _peak_memory(pid: str) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        if b"k8s_mcp/runner" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return 0  # just forked: the memory is still the service's
        status = Path(f"/proc/{pid}/status").read_text()
        _, found, rest = status.partition("VmHWM:")
        return int(rest.split()[0]) * 1024 if found else 0
    return 0
