"""run_command and run_read_only: one command on one cluster, or on several at the same time."""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from k8s_mcp.errors import K8sMcpError, TooManyRuns, Unavailable, UnknownCluster
from k8s_mcp.log_format import about_run
from k8s_mcp.mcp.call import Call, result
from k8s_mcp.mcp.clusters import Clusters
from k8s_mcp.mcp.collected import Collected, shortened
from k8s_mcp.mcp.progress import Reports
from k8s_mcp.mcp.tools import RunCommand
from k8s_mcp.models import RunRequest
from k8s_mcp.runs.run import Run
from k8s_mcp.runs.runs import Runs
from k8s_mcp.web.body import as_model

_LEAST_CHARACTERS = 1000  # of each of several clusters


class Running:
    """Starts commands and waits for them.

    `text_limit`: most characters of output in one result; `idle`: seconds that a command goes on after its call has
    been answered, unless somebody asks for it again.
    """

    def __init__(self, runs: Runs, clusters: Clusters, text_limit: int, idle: float) -> None:
        self._runs = runs
        self._clusters = clusters
        self._text_limit = text_limit
        self._idle = idle
        self._answered: weakref.WeakSet[Run] = weakref.WeakSet()

    def has_answered(self, run_id: str) -> bool:
        """Whether the call that started the run has told its id to somebody, who may ask for it again."""
        return any(run.run_id == run_id for run in self._answered)

    async def run(self, call: Call, arguments: RunCommand) -> types.CallToolResult:
        """Run the command, and wait for its end for as long as the call wants. Raises K8sMcpError."""
        await self._clusters.check(call.caller, arguments)
        command = _Command(self._runs, self._clusters, self._let_go_on, self._idle, call, arguments)
        if arguments.clusters is not None:
            return await self._on_several(command, list(dict.fromkeys(arguments.clusters)))
        run = await command.start(arguments.cluster, call.key)
        collected = Collected(run, self._text_limit)
        async with command.reports.sent():
            command.reports.say(f"[run_id {run.run_id}]")
            await command.follow(collected)
        _check_not_released(run)
        links = [collected.link()] if collected.is_cut and call.takes_links else []
        text = f"$ {shortened(run.masked(arguments.command))}\n{collected.text()}"
        return result(text, collected.data(), is_error=collected.failed, links=links)

    def _let_go_on(self, run: Run) -> None:
        run.linger(self._idle)
        self._answered.add(run)

    async def _on_several(self, command: "_Command", names: list[str]) -> types.CallToolResult:
        limit = max(self._text_limit // len(names), _LEAST_CHARACTERS)
        async with command.reports.sent(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(command.section(number, name, limit)) for number, name in enumerate(names)]
        sections = [task.result() for task in tasks]
        failed = [section.cluster for section in sections if section.failed]
        running = any(section.data["status"] == "running" for section in sections)
        parts = [f"$ {shortened(command.text)}"]
        if failed:
            parts.append(f"failed on {', '.join(failed)}")
        parts += [f"## {section.cluster}\n{section.text}" for section in sections]
        data = {
            "status": "running" if running else "done",
            "failed": failed,
            "results": [{"cluster": section.cluster, **section.data} for section in sections],
        }
        links = [section.link for section in sections if section.link]
        return result("\n".join(parts), data, is_error=bool(failed), links=links)


@dataclass(frozen=True)
class _Section:
    """One of several clusters in a result."""

    cluster: str
    text: str
    data: dict[str, Any]
    failed: bool
    link: types.ResourceLink | None = None


class _Command:
    """One call's command, on one cluster or several."""

    def __init__(
        self,
        runs: Runs,
        clusters: Clusters,
        let_go_on: Callable[[Run], None],
        idle: float,
        call: Call,
        arguments: RunCommand,
    ) -> None:
        self.reports = Reports(call.progress)
        self.text = arguments.command
        self._runs = runs
        self._clusters = clusters
        self._let_go_on = let_go_on
        self._idle = idle
        self._call = call
        self._arguments = arguments
        self._deadline = asyncio.get_running_loop().time() + arguments.wait
        self._started: list[Run] = []

    async def start(self, cluster: str | None, key: str | None) -> Run:
        """Start it on that cluster, or with the kubeconfig. Raises K8sMcpError."""
        arguments = self._arguments.model_dump(include=set(RunRequest.model_fields))
        request = as_model({**arguments, "cluster": cluster}, RunRequest)
        if key and self._runs.started_with(self._call.caller, key):
            key = None  # the client counts its requests wrongly: this one is new all the same
        try:
            run = await self._runs.start(self._call.caller, request, key, "mcp")
        except UnknownCluster:
            raise await self._clusters.unknown(self._call.caller) from None
        run.expected = self._idle
        return run

    async def follow(self, collected: Collected, mark: str = "") -> None:
        """Until the command's end, or for as long as the call waits. A call that is cancelled ends the command."""
        run = collected.run
        with about_run(run.run_id), run.events() as reader:
            try:
                async with asyncio.timeout_at(self._deadline):
                    while events := await reader.next():
                        collected.add(events)
                        if collected.is_cut:
                            run.keep()
                        self.reports.add(events, mark)
            except TimeoutError:
                self._let_go_on(run)
            except asyncio.CancelledError:
                # The client cancelled the request, or has gone: nobody will come back for it.
                run.stop()
                raise

    async def section(self, number: int, cluster: str, limit: int) -> _Section:
        """Run it on one of several clusters. What goes wrong there is said there."""
        try:
            run = await self._start_when_there_is_room(cluster, self._call.key and f"{self._call.key} {number}")
            collected = Collected(run, limit)
            self.text = run.masked(self.text)
            self.reports.say(f"[run_id {run.run_id} on {cluster}]")
            await self.follow(collected, f"{cluster}: ")
            _check_not_released(run)
        except K8sMcpError as error:
            self._call.refused(error)
            data = {"run_id": None, "status": "error", "exit_code": None, "stdout": "", "stderr": error.message}
            return _Section(cluster, error.message, data, failed=True)
        link = collected.link() if collected.is_cut and self._call.takes_links else None
        return _Section(cluster, collected.text(), collected.data(), collected.failed, link)

    async def _start_when_there_is_room(self, cluster: str, key: str | None) -> Run:
        """When the quota is used up by the others of this call, wait for one of them to be over."""
        while True:
            count, others = len(self._started), self._runs.in_progress(self._started)
            try:
                run = await self.start(cluster, key)
            except TooManyRuns:
                others |= self._runs.in_progress(self._started)
                if not others and count == len(self._started):
                    raise
                left = self._deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise TooManyRuns("not started: the others took all of the quota and of the time") from None
                if others:
                    await asyncio.wait(others, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                self._started.append(run)
                return run


def _check_not_released(run: Run) -> None:
    """Raise Unavailable for a run that goes on elsewhere."""
    if run.released:
        raise Unavailable(f"another replica goes on with the run; read_output reads it, run_id {run.run_id}")
