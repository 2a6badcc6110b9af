"""Programs that begin at once: children of a process that has imported all they need.

Importing is most of what starting `k8s-mcp` takes, and the tests start it a thousand times. Each is a process of its
own all the same, in its own session, with its own environment and files, run by the same `main`, and ends as any
other. What measures or tests the start itself does not come here: a `Service` starts from scratch unless it is told
otherwise.
"""

import gc
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
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Protocol, Self

_SERVICE = (
    "k8s_mcp.cli.serve",
    "k8s_mcp.cli.check",
    "k8s_mcp.cli.settings_options",
    "k8s_mcp.executors.local.executor",
)
_IMPORTED = {
    "local": ("default", _SERVICE),
    "kubernetes": ("default", (*_SERVICE, "k8s_mcp.executors.kubernetes.executor", "kubernetes.aio.client")),
    "client": ("error", ("k8s_mcp.cli.exec", "k8s_mcp.cli.clusters", "k8s_mcp.cli.token", "k8s_mcp.cli.policy")),
}
"""What Python does with warnings, and what it imports."""
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
    """Starts `k8s-mcp` from processes that wait, one for each kind, for as long as the context lasts."""

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
        """A service."""
        executor = environment.get("K8S_MCP_EXECUTOR", "local")
        if executor not in _IMPORTED or words[:2] != ["-m", "k8s_mcp"]:
            return from_scratch(words, environment, stdout, stderr)
        with Path(os.devnull).open("rb") as nothing:
            return self._start(executor, words[2:], environment, Path.cwd(), (nothing, stdout, stderr))

    def run(
        self, kind: str, words: Sequence[str], environment: Mapping[str, str], directory: Path, stdin: bytes = b""
    ) -> "subprocess.CompletedProcess[bytes]":
        """`k8s-mcp` with these words, to its end, with what it printed."""
        with (
            TemporaryFile() as given,
            _pipe() as (out, out_end),
            _pipe() as (err, err_end),
            ThreadPoolExecutor() as pool,
        ):
            given.write(stdin)
            given.seek(0)
            process = self._start(kind, words, environment, directory, (given, out_end, err_end))
            out_end.close()
            err_end.close()
            printed = [pool.submit(each.read) for each in (out, err)]
            try:
                code = process.wait()
            except BaseException:
                process.kill()
                raise
            return subprocess.CompletedProcess(words, code, *(each.result() for each in printed))

    def _start(
        self,
        kind: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        streams: tuple[IO[bytes], IO[bytes], IO[bytes]],
    ) -> "_Child":
        if kind not in self._waiting:
            self._waiting[kind] = self._prepare(kind)
        reading, writing = os.pipe()
        request = json.dumps({"words": words, "environment": dict(environment), "directory": str(directory)})
        try:
            descriptors = [*(stream.fileno() for stream in streams), writing]
            socket.send_fds(self._waiting[kind], [request.encode()], descriptors)
        finally:
            os.close(writing)
        return _Child(reading)

    def _prepare(self, kind: str) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-W", _IMPORTED[kind][0], "-m", __name__, kind, str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self._stack.callback(process.wait)
        self._stack.callback(ours.close)  # first: it ends the process
        return ours


@contextmanager
def _pipe() -> Generator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as out, os.fdopen(writing, "wb") as into:
        yield out, into


class _Child:
    """A process whose parent tells of it through a pipe: its pid at once, its exit code in the end."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._exit_code: int | None = None
        self.pid = self._told()

    def _told(self) -> int:
        data = os.read(self._pipe, _NUMBER.size)
        assert data, "the parent of a program is gone"
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
    """Wait for requests, and be the program in a child for each; argv: the kind, the socket's descriptor."""
    kind, descriptor = sys.argv[1:]
    for module in _IMPORTED[kind][1]:
        importlib.import_module(module)
    gc.freeze()  # or each child's collector would write to all of it, and so copy it
    with socket.socket(fileno=int(descriptor)) as requests:
        words = _next(requests)
    if words is None:
        return 0
    from k8s_mcp.cli.main import main as run  # noqa: PLC0415 - not in the tests' own process

    return run(words)


def _next(requests: socket.socket) -> list[str] | None:
    """A program's arguments, in the child that is to be it; None, in the parent, when no more will come."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for programs
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not request:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            *streams, told = descriptors
            _fork_and_tell(told)
            return _become(json.loads(request), streams)
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


def _become(request: dict[str, object], streams: list[int]) -> list[str]:
    os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Those of the process that waited may be for a file, in which one can seek, and these are for a pipe.
    sys.stdin = os.fdopen(0, encoding="utf-8", errors=sys.stdin.errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors=sys.stderr.errors, closefd=False)
    os.chdir(str(request["directory"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[arg-type]
    random.seed()
    return request["words"]  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())
