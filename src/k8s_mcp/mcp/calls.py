"""What each tool does: arguments in, result out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import mcp_types as types
from pydantic import BaseModel

from k8s_mcp.errors import NotFound, Unavailable
from k8s_mcp.log_format import about_run
from k8s_mcp.mcp.excerpt import Excerpt
from k8s_mcp.mcp.tools import CancelRun, ListClusters, ReadOutput, RunCommand
from k8s_mcp.models import Ended, Event, Output, Principal, RunRequest, StreamName
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.run import Run
from k8s_mcp.runs.runs import Runs
from k8s_mcp.web.body import as_model

Progress = Callable[[float, float | None, str | None], Awaitable[None]]

_PROGRESS_SECONDS = 0.1
_PROGRESS_CHARACTERS = 4000
_COMMAND_CHARACTERS = 1000
_NEWS_SECONDS = 10.0
"""How long read_output waits, while the run goes on, for a line that is not there yet."""


class Calls:
    """The tools. `text_limit`: most characters of output in one result."""

    def __init__(self, runs: Runs, handles: Handles, text_limit: int) -> None:
        self._runs = runs
        self._handles = handles
        self._text_limit = text_limit

    async def answer(
        self, caller: Principal, arguments: BaseModel, progress: Progress, key: str | None
    ) -> types.CallToolResult:
        """Carry out one call, which `cancel(key)` can end. Raises K8sMcpError."""
        match arguments:
            case RunCommand():
                return await self._run_command(caller, arguments, progress, key)
            case ReadOutput():
                return await self._read_output(caller, arguments)
            case CancelRun():
                return await self._cancel_run(caller, arguments)
            case ListClusters():
                return await self._list_clusters(caller)
            case _:
                raise TypeError(type(arguments))

    async def cancel(self, caller: Principal, key: str | None) -> None:
        """End the command of the call with that key, on whatever replica it is; if there is none, do nothing."""
        run_id = key and self._runs.started_with(caller, key)
        if run_id:
            with suppress(NotFound, Unavailable):  # nobody waits for an answer
                await self._runs.cancel(caller, run_id, "mcp")

    async def _run_command(
        self, caller: Principal, arguments: RunCommand, progress: Progress, key: str | None
    ) -> types.CallToolResult:
        request = as_model(arguments.model_dump(), RunRequest)
        if key and self._runs.started_with(caller, key):
            key = None  # the client counts its requests wrongly: this one is new all the same
        run = await self._runs.start(caller, request, key, "mcp")
        collected = _Collected(self._text_limit)
        reports = _Reports(progress)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(reports.send())
                with about_run(run.run_id), run.events() as reader:
                    while events := await reader.next():
                        collected.add(events)
                        if collected.is_cut:
                            run.keep()
                        reports.add(events)
                reports.finish()
        except asyncio.CancelledError:
            # The client cancelled the request, or has gone: nobody else knows the run's id, so nobody will come back.
            run.stop()
            raise
        return collected.result(run, arguments.command)

    async def _read_output(self, caller: Principal, arguments: ReadOutput) -> types.CallToolResult:
        run = await self._runs.follow(caller, arguments.run_id, "mcp")
        page = _Page(arguments.max_lines, self._text_limit)
        with about_run(run.run_id), run.events(arguments.start_line - 1) as reader:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEWS_SECONDS):
                    while await reader.next() and run.is_replay and not run.ended:
                        pass  # all of it is there already, in the pod's log
            for event in run.log.kept(arguments.start_line - 1):
                if isinstance(event, Output):
                    if arguments.stream in (None, event.stream):
                        page.fill(_lines(event, arguments.grep))
                elif event.id and event.data["status"] == "gap":
                    page.note(f"[lines lost before line {event.id + 1}: {event.data['missing']}]")
                if page.next_line:
                    break
            if page.next_line:
                run.keep()
            while run.ended and not page.next_line and await reader.next():
                pass  # read to its end: nobody has to be waited for
        state = run.describe()
        text = "\n".join(page.lines)
        more = f"\n[more from line {page.next_line}; {state['lines']} lines in all]" if page.next_line else ""
        return _result(
            (text or "[no such lines]") + more,
            {
                "run_id": run.run_id,
                "status": state["status"],
                "text": text,
                "lines": page.count,
                "next_line": page.next_line,
                "total_lines": state["lines"],
            },
        )

    async def _list_clusters(self, caller: Principal) -> types.CallToolResult:
        clusters = [handle.describe() for handle in await self._handles.all(caller)]
        lines = [f"{cluster['name']}: {cluster['server']}" for cluster in clusters]
        return _result("\n".join(lines) or "No clusters are stored.", {"clusters": clusters})

    async def _cancel_run(self, caller: Principal, arguments: CancelRun) -> types.CallToolResult:
        await self._runs.cancel(caller, arguments.run_id, "mcp")
        state = self._runs.describe(caller, arguments.run_id)
        status = state["status"]
        ending = status in ("running", "pending")
        text = "The command was told to end." if ending else f"The run had ended before: {status}."
        return _result(text, {"run_id": arguments.run_id, "status": status})


class _Collected:
    """What a run's result tells: the output within a bound, and what went wrong on the way."""

    def __init__(self, limit: int) -> None:
        self._streams: dict[StreamName, Excerpt] = {"stdout": Excerpt(limit * 3 // 4), "stderr": Excerpt(limit // 4)}
        self._notes: list[str] = []

    def add(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Output):
                self._streams[event.stream].add(event)
            elif event.data["status"] == "gap":
                self._notes.append(f"[{event.data['missing']} lines of {event.data['stream'] or 'output'} were lost]")

    @property
    def is_cut(self) -> bool:
        """Whether some lines are left out."""
        return any(excerpt.left_out for excerpt in self._streams.values())

    def result(self, run: Run, command: str) -> types.CallToolResult:
        """The run's result. A command that failed is a result with `is_error`, not a protocol error."""
        ended = run.ended
        if ended is None:
            raise Unavailable(f"another replica goes on with the run; read_output reads it, run_id {run.run_id}")
        note = f'[… lines left out: {{count}}; read_output(run_id="{run.run_id}", start_line={{line}}) reads them …]'
        texts = {name: excerpt.text(note) for name, excerpt in self._streams.items()}
        command = run.masked(command)
        if len(command) > _COMMAND_CHARACTERS:
            command = f"{command[:_COMMAND_CHARACTERS]}…"
        if run.spec.read_only and ended.exit_code != 0:
            self._notes.append("[read-only run: changes, exec, port-forward and Secrets are refused]")
        parts = [f"$ {command}", _outcome(ended), *self._notes, texts["stdout"]]
        if texts["stderr"]:
            parts += ["[stderr]", texts["stderr"]]
        return _result(
            "\n".join(part for part in parts if part).rstrip("\n"),
            {
                "run_id": run.run_id,
                "status": ended.status,
                "exit_code": ended.exit_code,
                "stdout": texts["stdout"],
                "stderr": texts["stderr"],
                "truncated": self.is_cut,
                "total_lines": sum(excerpt.lines for excerpt in self._streams.values()),
            },
            is_error=ended.status != "done" or ended.exit_code != 0,
        )


def _outcome(ended: Ended) -> str:
    if ended.status == "done":
        return f"exit code {ended.exit_code}"
    return " ".join(part for part in (ended.status, ended.reason, ended.message) if part)


class _Reports:
    """New lines as progress notifications, at most ten a second; `progress` is the number of lines so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lines = 0
        self._text = ""
        self._news = asyncio.Event()
        self._finished = asyncio.Event()

    def add(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Output):
                self._lines += event.count
                self._text = (self._text + event.data.decode() + "\n")[-_PROGRESS_CHARACTERS:]
                self._news.set()

    async def send(self) -> None:
        """Report whenever there is news, until `finish()`; and then what is left."""
        while not self._finished.is_set():
            await self._news.wait()
            await self._report()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROGRESS_SECONDS):
                    await self._finished.wait()
        await self._report()

    def finish(self) -> None:
        """There will be no more lines."""
        self._finished.set()
        self._news.set()

    async def _report(self) -> None:
        self._news.clear()
        text, self._text = self._text, ""
        if text:
            await self._progress(self._lines, None, text.rstrip("\n"))


class _Page:
    """Lines for one answer: at most `max_lines`, of about `limit` characters in all.

    `next_line` is the number of the first that there was no room for.
    """

    def __init__(self, max_lines: int, limit: int) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.next_line: int | None = None
        self._max_lines = max_lines
        self._room = limit

    def fill(self, lines: Iterator[tuple[int, str]]) -> None:
        """Take lines, each with its number, for as long as there is room. The first is taken in any case, cut."""
        for number, line in lines:
            if self.count == self._max_lines or (self.count and len(line) > self._room):
                self.next_line = number
                return
            if len(line) > self._room:
                line = f"{line[: self._room]}[… characters left out: {len(line) - self._room}]"  # noqa: PLW2901
            self.lines.append(line)
            self.count += 1
            self._room -= len(line) + 1

    def note(self, text: str) -> None:
        """Say something between the lines."""
        self.lines.append(text)


def _lines(output: Output, grep: str | None) -> Iterator[tuple[int, str]]:
    """The lines of `output`, or those that contain `grep`, each with its number."""
    data, number, start = output.data, output.first_id, 0
    wanted = (grep or "").encode()
    if b"\n" in wanted:
        return
    while (found := data.find(wanted, start)) >= 0:
        # Found from the start of one line on, in this line or a later one.
        line_start = data.rfind(b"\n", start, found) + 1 or start
        number += data.count(b"\n", start, line_start)
        end = data.find(b"\n", found)
        yield number, data[line_start : None if end < 0 else end].decode()
        if end < 0:
            return
        start, number = end + 1, number + 1


def _result(text: str, structured: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=structured, is_error=is_error
    )
