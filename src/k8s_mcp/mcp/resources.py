"""Runs' output as resources: `k8s-mcp://runs/ID/output`, readable in pages.

https://modelcontextprotocol.io/specification/2025-11-25/server/resources
"""

from urllib.parse import parse_qsl, urlsplit

import mcp_types as types
from mcp.shared.exceptions import MCPError

from k8s_mcp.errors import K8sMcpError, NotFound
from k8s_mcp.mcp.call import OUTPUT_TYPE, output_of
from k8s_mcp.mcp.page import Page, Wanted
from k8s_mcp.mcp.reading import Reading
from k8s_mcp.models import Principal
from k8s_mcp.runs.runs import Runs

_MOST_LISTED = 50
_MOST_LINES = 1_000_000  # of a page: its characters bound it
_RESOURCE_NOT_FOUND = -32002


def templates() -> types.ListResourceTemplatesResult:
    """What addresses there are."""
    template = types.ResourceTemplate(
        uri_template="k8s-mcp://runs/{run_id}/output{?start_line,column}",
        name="output",
        description="A run's output from a line on; the last line names the next page.",
        mime_type=OUTPUT_TYPE,
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


class Resources:
    """The output of each caller's runs."""

    def __init__(self, runs: Runs, reading: Reading) -> None:
        self._runs = runs
        self._reading = reading

    def list(self, caller: Principal) -> types.ListResourcesResult:
        """The newest runs first."""
        newest = reversed(self._runs.list(caller)[-_MOST_LISTED:])
        resources = [
            types.Resource(
                uri=output_of(str(run["run_id"])),
                name=f"output of {run['run_id']}",
                description=f"{run['status']}, {run['created']}, {run['cluster']}",
                mime_type=OUTPUT_TYPE,
            )
            for run in newest
        ]
        return types.ListResourcesResult(resources=resources)

    async def read(self, caller: Principal, uri: str) -> types.ReadResourceResult:
        """One page. Raises MCPError."""
        run_id, start_line, column = _read_address(uri)
        wanted = Wanted(start_line, column, max_lines=_MOST_LINES)
        try:
            page, lines = await self._page(caller, run_id, wanted)
        except K8sMcpError as error:
            raise MCPError(_RESOURCE_NOT_FOUND, error.message) from None
        text = page.text
        if page.next_line:
            rest = f"&column={page.next_column}" if page.next_column else ""
            text += f"\n[more: {output_of(run_id)}?start_line={page.next_line}{rest}]"
        elif lines is not None:
            text += f"\n[still running: {output_of(run_id)}?start_line={lines}]"
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, mime_type=OUTPUT_TYPE, text=text)]
        )

    async def _page(self, caller: Principal, run_id: str, wanted: Wanted) -> tuple[Page, object]:
        """And how many lines a run has so far that goes on; None of one that has ended."""
        try:
            run = await self._runs.follow(caller, run_id, "mcp")
        except NotFound:
            page, _ = await self._reading.past_page(caller, run_id, wanted)
            return page, None
        page = await self._reading.page(caller, run, wanted, 0)
        return page, None if run.ended else run.describe()["lines"]


def _read_address(uri: str) -> tuple[str, int, int]:
    """Run, line and column. Raises MCPError."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise _no_such() from None
    run_id, _, what = parts.path.removeprefix("/").partition("/")
    given = dict(parse_qsl(parts.query))
    numbers = [given.pop(name, "1") for name in ("start_line", "column")]
    if (
        (parts.scheme, parts.netloc, what) != ("k8s-mcp", "runs", "output")
        or given
        or not all(map(_is_number, numbers))
    ):
        raise _no_such()
    return run_id, int(numbers[0]), int(numbers[1])


def _no_such() -> MCPError:
    return MCPError(_RESOURCE_NOT_FOUND, "no such resource; there is k8s-mcp://runs/RUN_ID/output?start_line=1")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0
