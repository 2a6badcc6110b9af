"""What each tool does: arguments in, result out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import mcp_types as types
from pydantic import BaseModel, ValidationError

from k8s_mcp.auth import ANONYMOUS
from k8s_mcp.errors import InvalidRequest, Unavailable
from k8s_mcp.excerpt import Excerpt
from k8s_mcp.handles import Handles
from k8s_mcp.mcp_tools import CancelRun, ListClusters, ReadOutput, RunCommand
from k8s_mcp.models import Ended, Event, Output, RunRequest, StreamName
from k8s_mcp.run import Run
from k8s_mcp.runs import Runs

Progress = Callable[[float, float | None, str | None], Awaitable[None]]

_PROGRESS_SECONDS = 0.1
_PROGRESS_CHARACTERS = 4000


class Calls:
    """The tools. `text_limit`: most characters of output in one result."""

    def __init__(self, runs: Runs, handles: Handles, text_limit: int) -> None:
        self._runs = runs
        self._handles = handles
        self._text_limit = text_limit

    async def answer(self, arguments: BaseModel, progress: Progress) -> types.CallToolResult:
        """Carry out one call. Raises K8sMcpError."""
        match arguments:
            case RunCommand():
                return await self._run_command(arguments, progress)
            case ReadOutput():
                return await self._read_output(arguments)
            case CancelRun():
                return await self._cancel_run(arguments)
            case ListClusters():
                return await self._list_clusters()
            case _:
                raise TypeError(type(arguments))

    async def _run_command(self, arguments: RunCommand, progress: Progress) -> types.CallToolResult:
        try:
            request = RunRequest(**arguments.model_dump())
        except ValidationError as error:
            message = error.errors(include_input=False)[0]["msg"]
            raise InvalidRequest("cluster", message.removeprefix("Value error, ")) from None
        run = await self._runs.start(ANONYMOUS, request)
        collected = _Collected(self._text_limit)
        reports = _Reports(progress)
        try:
            async with asyncio.TaskGroup() as group:
                reporting = group.create_task(reports.send())
                with run.events() as reader:
                    while events := await reader.next():
                        collected.add(events)
                        reports.add(events)
                reporting.cancel()
            await reports.flush()
        except asyncio.CancelledError:
            # The client cancelled the request, or has gone: nobody else knows the run's id, so nobody will come back.
            run.stop()
            raise
        return collected.result(run, arguments.command)

    async def _read_output(self, arguments: ReadOutput) -> types.CallToolResult:
        run = await self._runs.follow(ANONYMOUS, arguments.run_id)
        lines: list[str] = []
        size = 0
        next_line: int | None = None
        for number, stream, line in _numbered(run.log.kept(arguments.start_line - 1)):
            wanted = arguments.stream in (None, stream) and (arguments.grep is None or arguments.grep in line)
            if not wanted:
                continue
            if len(lines) == arguments.max_lines or size + len(line) > self._text_limit:
                next_line = number
                break
            lines.append(line)
            size += len(line) + 1
        state = run.describe()
        text = "\n".join(lines)
        more = f"\n[more from line {next_line}; {state['lines']} lines in all]" if next_line else ""
        return _result(
            (text or "[no such lines]") + more,
            {
                "run_id": run.run_id,
                "status": state["status"],
                "text": text,
                "lines": len(lines),
                "next_line": next_line,
                "total_lines": state["lines"],
            },
        )

    async def _list_clusters(self) -> types.CallToolResult:
        clusters = [handle.describe() for handle in await self._handles.all(ANONYMOUS)]
        lines = [f"{cluster['name']}: {cluster['server']}" for cluster in clusters]
        return _result("\n".join(lines) or "No clusters are stored.", {"clusters": clusters})

    async def _cancel_run(self, arguments: CancelRun) -> types.CallToolResult:
        await self._runs.cancel(ANONYMOUS, arguments.run_id)
        state = self._runs.describe(ANONYMOUS, arguments.run_id)
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

    def result(self, run: Run, command: str) -> types.CallToolResult:
        """The run's result. A command that failed is a result with `is_error`, not a protocol error."""
        ended = run.ended
        if ended is None:
            raise Unavailable(f"another replica goes on with the run; read_output reads it, run_id {run.run_id}")
        note = f'[… {{count}} lines left out; read_output(run_id="{run.run_id}") reads them …]'
        texts = {name: excerpt.text(note) for name, excerpt in self._streams.items()}
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
                "truncated": any(excerpt.left_out for excerpt in self._streams.values()),
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

    def add(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Output):
                self._lines += event.count
                self._text = (self._text + event.data.decode() + "\n")[-_PROGRESS_CHARACTERS:]
                self._news.set()

    async def send(self) -> None:
        """Report for ever, whenever there is news."""
        while True:
            await self._news.wait()
            await self.flush()
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def flush(self) -> None:
        """Report what has not been reported yet."""
        if not self._news.is_set():
            return
        self._news.clear()
        text, self._text = self._text, ""
        await self._progress(self._lines, None, text.rstrip("\n"))


def _numbered(events: Iterable[Event]) -> Iterator[tuple[int, StreamName, str]]:
    """The lines of the outputs among `events`, each with its number and its stream."""
    for event in events:
        if isinstance(event, Output):
            for number, line in enumerate(event.data.decode().split("\n"), event.first_id):
                yield number, event.stream, line


def _result(text: str, structured: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=structured, is_error=is_error
    )
