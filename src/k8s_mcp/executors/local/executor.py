"""The local executor: the runner as a child process of the service. Same events and rules, less isolation.

A run's files live in a directory of its own, in memory where the machine has a memory file system. Three parties
remove it: the runner, when the service is gone; this executor, at every end of a run; and the next start of the
service, when both were killed.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from k8s_mcp.errors import StartError
from k8s_mcp.executors.base import Execution, Item, read_exit, uninterrupted
from k8s_mcp.executors.local.child import Child
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.runner import __main__ as runner
from k8s_mcp.runner.frames import PipeDecoder
from k8s_mcp.runner.supervise import HEARTBEAT_SECONDS

_MARGIN = 10.0
"""Seconds after timeout and grace period in which the runner may still report, before it counts as lost."""
_KILL_ROUNDS = 100  # each kills all that the last one's victims had just started

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
        _private_directory(self._directory)
        with _locked(self._directory):
            for left in self._directory.iterdir():
                _remove_if_abandoned(left)
            self._own = self._directory / f"{os.getpid()}-{os.urandom(4).hex()}"
            self._own.mkdir(mode=0o700)
            alive = _lock(self._own)
        try:
            yield
        finally:
            _remove(self._own)
            os.close(alive)

    @asynccontextmanager
    async def start(self, spec: RunSpec) -> AsyncGenerator[Execution]:
        """Start the runner. At the end neither it, nor anything it started, nor a file of the run is left."""
        directory = self._own / spec.run_id
        execution: _LocalExecution | None = None
        try:
            _write_run(directory, spec)
            execution = _LocalExecution(self._start(directory), directory, spec.timeout, self._grace)
            try:
                yield execution
            finally:
                await uninterrupted(execution.close())
        finally:
            try:
                if directory.exists():
                    await uninterrupted(asyncio.to_thread(_remove, directory))
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
            _kill_all_of(self._directory)
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
        _remove(self._directory)

    def _lost(self) -> Ended:
        log = ""
        with suppress(FileNotFoundError):  # the command can remove it
            log = (self._directory / "runner.log").read_text(errors="replace")[-2000:].strip()
        message = "the runner ended without reporting an exit code; the command may have killed it"
        return Ended("error", None, "RunnerLost", f"{message}: {log}" if log else message)


def default_directory() -> Path:
    """Where runs are kept unless set otherwise: in memory if possible."""
    memory = Path("/dev/shm")  # noqa: S108
    name = f"k8s-mcp-{os.getuid()}"
    if os.access(memory, os.W_OK):
        return memory / name
    return Path(os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/var/tmp") / name  # noqa: S108


def _write_run(directory: Path, spec: RunSpec) -> None:
    directory.mkdir(mode=0o700)
    (directory / "work").mkdir(mode=0o700)
    files = {
        "id": spec.run_id,
        "command": spec.command,
        "timeout": str(spec.timeout),
        "kubeconfig": spec.kubeconfig,
    }
    if spec.stdin is not None:
        files["stdin"] = spec.stdin
    for name, content in files.items():
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content.encode())


def _private_directory(directory: Path) -> None:
    """Make `directory`, or accept it only if it is ours alone: others can create names in a shared parent."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise StartError(
            f"{directory} must be a directory of this user's with mode 0700; remove it or set K8S_MCP_LOCAL_DIR"
        )


def _lock(directory: Path) -> int:
    """A descriptor that locks `directory` for this process alone, until it is closed or the process ends."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


@contextmanager
def _locked(directory: Path) -> Generator[None]:
    fd = _lock(directory)
    try:
        yield
    finally:
        os.close(fd)


def _remove_if_abandoned(directory: Path) -> None:
    """Remove the directory of a service that is no more, with all processes of its runs."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its service lives
    else:
        _kill_all_of(directory)
        with suppress(OSError):
            _remove(directory)
    finally:
        os.close(fd)


def _remove(directory: Path) -> None:
    """Remove it with all that is in it, also from directories that the command made read-only."""
    with suppress(FileNotFoundError):  # the command may have removed it itself
        try:
            shutil.rmtree(directory)
        except PermissionError:
            directory.chmod(0o700)
            for path, names, _ in os.walk(directory):
                for child in (Path(path, name) for name in names):
                    if not child.is_symlink():
                        child.chmod(0o700)
            shutil.rmtree(directory)


def _kill_all_of(directory: Path) -> None:
    """Kill every process whose HOME is inside `directory`:

    the commands of lost runners, and whatever they started.
    """
    home = b"HOME=" + bytes(directory) + b"/"
    for _ in range(_KILL_ROUNDS):
        pids = [
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _began_with(entry, home)
        ]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _began_with(process: Path, variable: bytes) -> bool:
    """Whether `process` was started with an environment variable that begins so."""
    try:
        environment = (process / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return any(value.startswith(variable) for value in environment.split(b"\0"))
