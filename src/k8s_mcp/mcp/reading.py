"""read_output: lines of a run's output, also while it goes on, and of one that only the history has."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress

import mcp_types as types

from k8s_mcp.errors import NotFound
from k8s_mcp.log_format import about_run
from k8s_mcp.mcp.call import Call, result
from k8s_mcp.mcp.collected import outcome
from k8s_mcp.mcp.page import Page, Wanted
from k8s_mcp.mcp.progress import Reports
from k8s_mcp.mcp.tools import ReadOutput
from k8s_mcp.models import Output, Principal
from k8s_mcp.runs.eventlog import Reader
from k8s_mcp.runs.past import PastOutput, PastRuns
from k8s_mcp.runs.run import Run
from k8s_mcp.runs.runs import Runs

_NEWS_SECONDS = 10.0
"""How long a call that does not say so waits, while the run goes on, for a line that is not there yet."""


class Reading:
    """Reads the output of runs. `text_limit` and `idle` as for commands."""

    def __init__(self, runs: Runs, past: PastRuns, text_limit: int, idle: float) -> None:
        self._runs = runs
        self._past = past
        self._text_limit = text_limit
        self._idle = idle

    async def read(self, call: Call, arguments: ReadOutput) -> types.CallToolResult:
        """One page. Raises NotFound, Forbidden, Unavailable."""
        wanted = Wanted(**arguments.model_dump(exclude={"run_id", "wait"}, exclude_none=True))
        try:
            run = await self._runs.follow(call.caller, arguments.run_id, "mcp")
        except NotFound:
            page, past = await self.past_page(call.caller, arguments.run_id, wanted)
            return _answer(page, past.run.state, past.until, page.next_line, *_about(past))
        async with Reports(call.progress).sent():
            page = await self.page(call.caller, run, wanted, arguments.wait)
        state = run.describe()
        running = run.ended is None
        next_line = page.next_line or (int(str(state["lines"])) + 1 if running else None)
        said: list[str] = []
        if run.ended:
            said.append(outcome(run.ended, run.seconds, run.spec.timeout))
        elif not page.next_line:
            rest = f"start_line={next_line}, wait=45 waits for the rest"
            said.append(f"{state['status']} for {run.seconds:.0f} s; {rest}")
        return _answer(page, state, run.readable_until, next_line, *said)

    async def page(self, caller: Principal, run: Run, wanted: Wanted, wait: int | None) -> Page:
        """The lines wanted of a run, after `wait` seconds at most."""
        page = Page(wanted, self._text_limit)
        own = run.spec.is_of(caller)
        with about_run(run.run_id), run.events(wanted.start_line - 1, watching=not own) as reader:
            if own and run.ended is None and not run.is_replay:
                run.linger(self._idle)
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEWS_SECONDS if wait is None else wait):
                    await _until_there_is_enough(run, reader, wanted, wait)
            page.fill(run.log.kept(wanted.first_needed - 1))
            if own and page.next_line:
                run.keep()
            while run.ended and not page.next_line and await reader.next():
                pass  # read to its end: nobody has to be waited for
        return page

    async def past_page(self, caller: Principal, run_id: str, wanted: Wanted) -> tuple[Page, PastOutput]:
        """The lines wanted of a run that only the history has. Raises NotFound, Forbidden, Unavailable."""
        past = await self._past.output(caller, run_id, "mcp")
        page = Page(wanted, self._text_limit)
        page.fill(event for _, event in past.sent)
        return page, past


def _answer(
    page: Page, state: Mapping[str, object], until: str | None, next_line: int | None, *said: str
) -> types.CallToolResult:
    """The page, and what is `said` of its run."""
    parts = [page.text or "[no such lines]"]
    if page.next_line:
        column = f", column {page.next_column}" if page.next_column else ""
        parts.append(f"[more from line {page.next_line}{column}; {state['lines']} lines in all]")
    data = {
        "run_id": state["run_id"],
        "status": state["status"],
        "exit_code": state["exit_code"],
        "text": page.text,
        "lines": page.count,
        "next_line": next_line,
        "next_column": page.next_column,
        "total_lines": state["lines"],
        "readable_until": until,
    }
    return result("\n".join([*parts, *(f"[{one}]" for one in said)]), data)


def _about(past: PastOutput) -> Iterator[str]:
    """How the run ended, and whether there is more than was kept."""
    if past.missing:
        yield f"the history keeps the beginning and the end of a run's output; lines left out between: {past.missing}"
    yield outcome(past.run.how, past.run.seconds, past.run.spec.timeout)


async def _until_there_is_enough(run: Run, reader: Reader, wanted: Wanted, wait: int | None) -> None:
    """Until the run has ended; or there is a page full of lines; or, if `wait` is not given, anything."""
    lines = 0
    while not run.ended and (events := await reader.next()):
        if run.is_replay:
            continue  # all of it is there already, in the pod's log
        lines += sum(event.count for event in events if isinstance(event, Output) and _is_wanted(event, wanted))
        if wait is None or lines >= wanted.max_lines:
            return


def _is_wanted(output: Output, wanted: Wanted) -> bool:
    """Whether its lines are sure to be in the answer."""
    return wanted.stream in (None, output.stream) and not wanted.grep and not wanted.tail
