"""The local executor: the runner as a child process of the service. Same events and rules, less isolation.

A run's files live in a directory of its own, in memory where the machine has a memory file system. Three parties
remove it: the runner, when the service is gone; this executor, at every end of a run; and the next start of the
service, when both were killed.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from k8s_mcp.executors.base import Execution, Item, read_exit, uninterrupted
from k8s_mcp.executors.local.child import Child
from k8s_mcp.executors.local.directory import (
    kill_all_of,
    lock,
    locked,
    make_private,
    remove,
    remove_if_abandoned,
    write_run,
)
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.recorded import Requests
from k8s_mcp.runner import __main__ as runner
from k8s_mcp.runner.frames import PipeDecoder
from k8s_mcp.runner.supervise import HEARTBEAT_SECONDS

_MARGIN = 10.0
"""Seconds after timeout and grace period in which the runner may still report, before it counts as lost."""

_logger = logging.getLogger(__name__)


class LocalExecutor:
    """Runs commands on this host, with the service's own user, files and network: see docs/local-executor.md."""

    name = "local"
    loopback_clusters = True
    can_be_read_only = False

    def __init__(self, directory: Path, grace: float) -> None:
        self._directory = directory
        self._grace = grace
        self._own = directory

    def check(self) -> None:
        """There is nothing that could be out of reach."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Clear away what killed services left, then hold a directory that says we are alive.

        StartError if it is not safely ours.
        """
        make_private(self._directory)
        with locked(self._directory):
            for left in self._directory.iterdir():
                remove_if_abandoned(left)
            self._own = self._directory / f"{os.getpid()}-{os.urandom(4).hex()}"
            self._own.mkdir(mode=0o700)
            alive = lock(self._own)
        try:
            yield
        finally:
            remove(self._own)
            os.close(alive)

    @asynccontextmanager
    async def start(self, spec: RunSpec) -> AsyncGenerator[Execution]:
        """Start the runner. At the end neither it, nor anything it started, nor a file of the run is left."""
        directory = self._own / spec.run_id
        execution: _LocalExecution | None = None
        try:
            write_run(directory, spec)
            execution = _LocalExecution(self._start(directory), directory, spec.timeout, self._grace)
            try:
                yield execution
            finally:
                await uninterrupted(execution.close())
        finally:
            try:
                if directory.exists():
                    await uninterrupted(asyncio.to_thread(remove, directory))
            except OSError as error:
                _logger.exception("the run's directory cannot be removed")
                if execution:
                    execution.left = f"the run's directory: {error.strerror}"

    def _start(self, directory: Path) -> Child:
        argv = [
            sys.executable,
            "-I",
            "-S",
            str(Path(runner.__file__)),
            f"--run={directory}",
            f"--work={directory / 'work'}",
            f"--grace={self._grace}",
            "--lifeline=yes",
            "--raw=yes",
        ]
        return Child(argv, {"PATH": os.environ.get("PATH", os.defpath)}, directory / "runner.log")


class _LocalExecution:
    """Reads one runner's frames, and ends it."""

    def __init__(self, process: Child, directory: Path, timeout: float, grace: float) -> None:
        self._process = process
        self.left = ""
        self.place: Mapping[str, str] = {}
        self.requests: Requests | None = None  # the command has its credential, and asks by itself
        self._directory = directory
        self._grace = grace
        self._listening = False  # whether the runner has come to where SIGTERM does not simply kill it
        self._stop_requested = False
        self._kill_later: asyncio.TimerHandle | None = None
        self._reported = False
        self._deadline = asyncio.get_running_loop().time() + timeout + grace + _MARGIN

    async def __aiter__(self) -> AsyncIterator[Item]:
        decoder = PipeDecoder()
        while data := await self._read():
            frames = decoder.feed(data)
            if frames:
                self._on_frames()
                yield frames
            ended = read_exit(frames)
            if ended:
                self._reported = True
                await asyncio.to_thread(self._bury)
                yield ended
                return
        yield self._lost()

    async def stop(self) -> None:
        self._stop_requested = True
        self._kill_later = asyncio.get_running_loop().call_later(self._grace + _MARGIN, self._kill)
        if self._listening and self._process.running:
            self._process.terminate()

    def _on_frames(self) -> None:
        if not self._listening:
            self._listening = True
            if self._stop_requested:
                self._process.terminate()

    async def settle(self) -> None:
        """Everything was removed before the end was told."""

    async def close(self) -> None:
        """End the runner, which ends its command. If it cannot, or was killed itself, do it for it."""
        if self._kill_later:
            self._kill_later.cancel()
        if not self._reported:
            self._process.cut_lifeline()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace + _MARGIN):
                    await self._drain()
            self._kill()
            await self._drain()
            await asyncio.to_thread(self._process.wait)
            kill_all_of(self._directory)
        self._process.close()

    async def _read(self) -> bytes:
        """The next bytes; none when the runner is gone, or silent past the deadline without a heartbeat."""
        remaining = self._deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(remaining, 3 * HEARTBEAT_SECONDS)):
                return await self._process.read()
        except TimeoutError:
            self._kill()
            return b""

    def _kill(self) -> None:
        if self._process.running:
            self._process.kill()

    async def _drain(self) -> None:
        """Nobody wants the output any more, but the runner must be able to write it."""
        while await self._process.read():
            pass

    def _bury(self) -> None:
        self._process.wait()
        remove(self._directory)

    def _lost(self) -> Ended:
        log = ""
        with suppress(FileNotFoundError):  # the command can remove it
            log = (self._directory / "runner.log").read_text(errors="replace")[-2000:].strip()
        message = "the runner ended without reporting an exit code; the command may have killed it"
        return Ended("error", None, "RunnerLost", f"{message}: {log}" if log else message)
