"""Services that begin at once: children of a process that has imported all they need.

Importing is most of what starting a service takes, and the tests start hundreds. Each is a process of its own all the
same, in its own session, with its own environment and files, run by the same `main`, and ends as any other. What
measures or tests the start itself does not come here: a `Service` starts from scratch unless it is told otherwise.
"""

import importlib
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

_EVERYWHERE = ("k8s_mcp.cli.serve", "k8s_mcp.cli.settings_options", "uvloop")
_IMPORTED = {
    "local": (*_EVERYWHERE, "k8s_mcp.executors.local.executor"),
    "kubernetes": (*_EVERYWHERE, "k8s_mcp.executors.kubernetes.executor", "kubernetes.aio.client"),
}
_NUMBER = struct.Struct("i")


class Process(Protocol):
    """What is asked of a started service; subprocess.Popen has it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...


class Start(Protocol):
    """Starts Python with `words`, in a session of its own."""

    def __call__(
        self, words: Sequence[str], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
    ) -> Process: ...


def from_scratch(
    words: Sequence[str], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
) -> Process:
    """As an operator does."""
    return subprocess.Popen(
        [sys.executable, "-W", "default", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


class Prepared:
    """Starts `k8s-mcp serve` from processes that wait, one for each executor, for as long as the context lasts."""

    def __init__(self) -> None:
        self._waiting: dict[str, socket.socket] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(
        self, words: Sequence[str], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
    ) -> Process:
        executor = environment.get("K8S_MCP_EXECUTOR", "local")
        if executor not in _IMPORTED or words[:2] != ["-m", "k8s_mcp"]:
            return from_scratch(words, environment, stdout, stderr)
        if executor not in self._waiting:
            self._waiting[executor] = self._prepare(executor)
        reading, writing = os.pipe()
        request = json.dumps({"words": words[2:], "environment": dict(environment), "directory": str(Path.cwd())})
        descriptors = [stdout.fileno(), stderr.fileno(), writing]
        try:
            socket.send_fds(self._waiting[executor], [request.encode()], descriptors)
        finally:
            os.close(writing)
        return _Child(reading)

    def _prepare(self, executor: str) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-W", "default", "-m", __name__, executor, str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self._stack.callback(process.wait)
        self._stack.callback(ours.close)  # first: it ends the process
        return ours


class _Child:
    """A process whose parent tells of it through a pipe: its pid at once, its exit code in the end."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._exit_code: int | None = None
        self.pid = self._told()

    def _told(self) -> int:
        data = os.read(self._pipe, _NUMBER.size)
        assert data, "the parent of a service is gone"
        return _NUMBER.unpack(data)[0]

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(["k8s-mcp"], timeout or 0)
        return code

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> int | None:
        if self._exit_code is None and select.select([self._pipe], [], [], seconds)[0]:
            self._exit_code = self._told()
            os.close(self._pipe)
        return self._exit_code


def main() -> int:
    """Wait for requests, and be the service in a child for each; argv: the executor, the socket's descriptor."""
    executor, descriptor = sys.argv[1:]
    for module in _IMPORTED[executor]:
        importlib.import_module(module)
    with socket.socket(fileno=int(descriptor)) as requests:
        words = _next_service(requests)
    if words is None:
        return 0
    from k8s_mcp.cli.main import main as run  # noqa: PLC0415 - not in the tests' own process

    return run(words)


def _next_service(requests: socket.socket) -> list[str] | None:
    """Its arguments, in the child that is to be it; None, in the parent, when no more will come."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for services
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not request:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            stdout, stderr, told = descriptors
            _fork_and_tell(told)
            return _become(json.loads(request), stdout, stderr)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_and_tell(pipe: int) -> None:
    """Returns in a child only; the parent tells of it and ends with it."""
    pid = os.fork()
    if pid:
        os.write(pipe, _NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        os.write(pipe, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    os.close(pipe)


def _become(request: dict[str, object], stdout: int, stderr: int) -> list[str]:
    os.setsid()
    for descriptor, number in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(request["directory"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[arg-type]
    random.seed()
    return request["words"]  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())
