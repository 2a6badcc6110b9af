"""The replicas: started, killed, started again; their memory and descriptors over time; what they must not log."""

import asyncio
import itertools
import os
import re
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from anyio.to_thread import run_sync

from tests.e2e.place import Place
from tests.soak import growth
from tests.soak.api_link import ApiLink
from tests.soak.balancer import Address
from tests.support.service import Service

_SAMPLE_SECONDS = 5.0
_WATCH_SECONDS = 0.5
_END_SECONDS = 60
_SHUTDOWN_GRACE = 5
_REPLAY_SECONDS = 180
"""For so long the output of a run that has ended is kept: what grows for longer does so for another reason."""
MOST_WARM = 3
"""Pods that wait for runs, of all replicas together."""
_CONTEXT = 60
"""Lines of a log that are shown around what is wrong in it."""

Tell = Callable[[str, str], None]
"""Of something wrong: what, and all there is to say of it."""


class _Service(Service):
    start_seconds = 90  # it waits for an API server that is away


class Replica:
    """One replica. `address` is None while it does not run."""

    def __init__(self, number: int, link: ApiLink, directory: Path, settings: dict[str, object], tell: Tell) -> None:
        self.number = number
        self.link = link
        self.samples: list[growth.Sample] = []
        self.address: Address | None = None
        self.lives = 0
        self._directory = directory
        self._settings = settings
        self._tell = tell
        self._service: Service | None = None
        self._busy = asyncio.Lock()

    async def start(self) -> None:
        """Until it serves; each try that fails is told."""
        while self._service is None:
            home = self._directory / str(self.lives)
            home.mkdir(parents=True)
            self.lives += 1
            try:
                self._service = await run_sync(_Service, home, os.environ["PATH"], self._settings)
            except AssertionError as error:
                self._tell("replica did not start", f"replica {self.number}: {_essences(home / 'log')} {error}")
        where = urlsplit(self._service.url)
        self.address = (str(where.hostname), int(where.port or 0))

    async def killed(self, seconds: float) -> None:
        """Kill it, and start it again so many seconds later."""
        async with self._busy:
            if self._service is not None and not self._has_ended(self._service):
                self.address = None
                await run_sync(self._service.kill)
            self._service = None
            await asyncio.sleep(seconds)
            await self.start()

    async def terminated(self, seconds: float) -> None:
        """End it as a rollout would, and start it again so many seconds later."""
        async with self._busy:
            await self._end()
            await asyncio.sleep(seconds)
            await self.start()

    async def stop(self) -> None:
        """End it for good."""
        async with self._busy:
            await self._end()

    async def _end(self) -> None:
        """By SIGTERM. It serves on while it drains, as behind a load balancer that has not noticed yet."""
        if self._service is not None and not self._has_ended(self._service):
            self._service.terminate()
            try:
                how = f"with exit code {await run_sync(self._service.end, _END_SECONDS)}"
            except subprocess.TimeoutExpired:
                how = f"not within {_END_SECONDS} s"
            if how != "with exit code 0":
                log = self._service.log
                self._tell("bad end", f"replica {self.number} ended by SIGTERM {how}: {_essences(log)}\n{_tail(log)}")
        self._service, self.address = None, None

    async def watch(self) -> None:
        """For ever: note how much it takes, and start it again should it end by itself."""
        sampled = 0.0
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            async with self._busy:
                if self._service is None or self._has_ended(self._service):
                    self._service, self.address = None, None
                    await self.start()
                elif time.monotonic() - sampled > _SAMPLE_SECONDS:
                    sampled = time.monotonic()
                    self.samples += growth.sample(self._service.pid, self.lives - 1)

    def _has_ended(self, service: Service) -> bool:
        """Whether it has, though nobody wanted it; that is told."""
        code = service.process.poll()
        if code is not None:
            why = f"replica {self.number}, exit code {code}: {_essences(service.log)}\n{_tail(service.log)}"
            self._tell("replica ended by itself", why)
        return code is not None

    def log_lines(self, word: str) -> list[str]:
        """What its logs, of all its lives, say with that word."""
        return [
            f"{self.number}/{log.parent.name}: {line}" for log in self._logs() for line in _lines(log) if word in line
        ]

    def log_problems(self) -> Iterator[tuple[str, str]]:
        """Tracebacks, errors and warnings of Python in its logs: the last line of each, and what is around it."""
        for log in self._logs():
            lines = _lines(log)
            for number, line in enumerate(lines):
                if re.search(r"^Traceback|^  \+ Exception Group Traceback|\w+Warning: |\bERROR\b", line):
                    around = lines[max(0, number - 3) : number + _CONTEXT]
                    yield (
                        _essence(lines[number:]),
                        f"{log.parent.parent.name}/{log.parent.name}: " + "\n".join(around),
                    )

    def _logs(self) -> list[Path]:
        return sorted(self._directory.glob("*/log"), key=lambda log: int(log.parent.name))


def _essence(lines: list[str]) -> str:
    """The exceptions of a traceback, or its one line, without what is another each time."""
    if "Traceback" in lines[0]:
        rest = itertools.takewhile(lambda line: not re.match(r"\d{4}-\d\d-\d\dT", line), lines)
        said = "; ".join(dict.fromkeys(_exceptions(rest)))
    else:
        said = lines[0].partition("Z ")[2] or lines[0]
    return re.sub(r"0x[0-9a-f]+|[0-9a-f]{32}|\d+", "…", said)


def _exceptions(lines: Iterable[str]) -> Iterator[str]:
    bare = (line.lstrip(" |") for line in lines)
    return (line for line in bare if re.match(r"[\w.]+(Error|Exception|Group|Contradiction)\b.*: ", line))


def _essences(log: Path) -> str:
    """The exceptions with which it ended: those at its end that no traceback follows."""
    return "; ".join(dict.fromkeys(_exceptions(_lines(log)[-80:])))


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def _tail(log: Path) -> str:
    return "\n".join(_lines(log)[-40:])


def settings(place: Place, link: ApiLink, number: int, resume_window: float) -> dict[str, object]:
    """What a replica is started with: exactly the rights of the Role, by its own link."""
    entry = {"server": link.url, "certificate-authority-data": None}
    return {
        "executor": "kubernetes",
        "namespace": place.namespace,
        "kubeconfig": place.kubeconfig(f"kubeconfig-of-replica-{number}", entry),
        "grace_period": 2,
        "shutdown_grace": _SHUTDOWN_GRACE,
        "resume_window": resume_window,
        "replay_seconds": _REPLAY_SECONDS,
        "start_timeout": 180,
        "runner_cpu_request": "10m",
        "log_level": "debug",
        "warm_pods": MOST_WARM,
    }


@asynccontextmanager
async def running(replicas: list[Replica]) -> AsyncGenerator[None]:
    """All of them, while the context lasts; then none, however it ends."""
    try:
        async with asyncio.TaskGroup() as group:
            for replica in replicas:
                group.create_task(replica.start())
        yield
    finally:
        for replica in replicas:
            await replica.stop()
