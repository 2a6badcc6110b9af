"""The service as a process of its own, as an operator starts it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import httpx

from tests.support.kubeconfigs import credentials_in
from tests.support.prepared import Start, from_scratch

_Seen = TypeVar("_Seen")


def wait_for(seen: Callable[[], _Seen], seconds: float = 30, what: str = "") -> _Seen:
    """The first true value of `seen()`, asked for ever more seldom: a tenth of the time too late, at most."""
    begin = time.monotonic()
    while not (value := seen()):
        waited = time.monotonic() - begin
        assert waited < seconds, f"not within {seconds} s: {what or seen}"
        time.sleep(min(max(waited / 10, 0.02), 0.5))
    return value


def processes_with(text: str) -> dict[int, str]:
    """Every process that has `text` in its arguments or its environment: pid and arguments."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        arguments = _read(entry / "cmdline")
        if text.encode() in arguments or text.encode() in _read(entry / "environ"):
            found[int(entry.name)] = arguments.replace(b"\0", b" ").decode(errors="replace")
    return found


class Service:
    """`k8s-mcp serve` on a free port, its log in `directory`/log, what it prints (its audit log, by default) in
    `directory`/printed, the local executor's files in `directory`/runs.

    Settings are environment variables without their prefix, in lower case: `resume_window=1`; there is no history
    without one for it. Service(…) returns when requests are answered.
    """

    program: ClassVar = ("-m", "k8s_mcp")
    """What Python is told to run."""

    start_seconds: ClassVar[float] = 30
    """It must listen within so many."""

    def __init__(
        self, directory: Path, path: str, settings: Mapping[str, object], start: Start = from_scratch
    ) -> None:
        given = {"local_dir": directory / "runs", "port": 0, "history_seconds": 0, **settings}
        self.runs = Path(str(given["local_dir"]))
        self.log = directory / "log"
        self.printed = directory / "printed"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("K8S_MCP_")}
        environment = {**kept, "PATH": path} | {
            f"K8S_MCP_{name.upper()}": str(value) for name, value in given.items()
        }
        with self.log.open("ab") as log, self.printed.open("ab") as printed:
            self.process = start([*self.program, "serve"], environment, printed, log)
        try:
            self.url = wait_for(self._listening, self.start_seconds, what="the service to listen")
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, path: str) -> httpx.Response:
        """In a connection of its own; blocks."""
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=30)

    def metric(self, name: str) -> float | None:
        """A metric's value, by its name and its labels if it has some; None when there is no such one."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return float(match[1]) if match else None

    def terminate(self) -> None:
        """Ask for a graceful end."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    @property
    def was_killed(self) -> bool:
        return self.process.poll() == -signal.SIGKILL

    def stop(self) -> int:
        """End it gracefully; its exit code."""
        if self.process.poll() is None:
            self.terminate()
        return self.end()

    def end(self, seconds: float = 60) -> int:
        """Its exit code, once it has ended by itself; that it does not within `seconds` is an error."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def traces(self) -> list[str]:
        """What it has left: files, and processes. A running service has its own directory, which does not count."""
        own = list(self.runs.glob(f"{self.pid}-*"))
        walks = (walk for directory in own for walk in os.walk(directory))  # what goes meanwhile is passed over
        files = [f"{place}/{name}" for place, directories, names in walks for name in directories + names]
        if self.process.poll() is not None:
            files += map(str, own)
        started = processes_with(f"{self.runs}/{self.pid}-")
        return files + [f"{pid}: {arguments}" for pid, arguments in started.items()]

    def peak_memory(self) -> int:
        """Most bytes of memory it ever had (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _listening(self) -> str:
        match = re.search(r"listening on (http\S+),", self.log.read_text())
        assert match or self.process.poll() is None, f"the service ended: {self.log.read_text()}"
        return match[1] if match else ""

    def check_end(self) -> None:
        """End it, unless it was killed, and look for what must not be there afterwards."""
        exit_code = self.stop()
        if self.was_killed:
            return
        log = self.log.read_text()
        assert exit_code == 0, log
        assert not re.search(r"Traceback|Warning|ERROR", log), log
        assert credentials_in(log) == []
        assert credentials_in(self.printed.read_text()) == []
        assert self.traces() == []


StartService: TypeAlias = Callable[..., Service]


@contextmanager
def services(
    directory: Path, tools: Path, kind: type[Service] = Service, how: Start = from_scratch
) -> Generator[StartService]:
    """Starts services with the settings of each call. At the end every one is checked by `check_end`."""
    started: list[Service] = []

    def start(**settings: object) -> Service:
        home = directory / str(len(started))
        home.mkdir()
        started.append(kind(home, f"{tools}{os.pathsep}{os.environ['PATH']}", settings, how))
        return started[-1]

    with ExitStack() as stack:
        try:
            yield start
        finally:
            for service in started:
                stack.callback(service.check_end)


@contextmanager
def ended_together(start: StartService) -> Generator[StartService]:
    """The same, but what was started in the context has ended behind it."""
    started: list[Service] = []

    def remembered(**settings: object) -> Service:
        started.append(start(**settings))
        return started[-1]

    try:
        yield remembered
    finally:
        running = [service for service in started if service.process.poll() is None]
        for service in running:
            service.terminate()
        for service in running:
            service.end()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
