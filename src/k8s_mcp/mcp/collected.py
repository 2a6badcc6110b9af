"""What one run's result tells: the output within a bound, how it ended, and how to read on."""

from collections.abc import Iterator
from typing import Any

import mcp_types as types

from k8s_mcp.mcp.call import link_to
from k8s_mcp.mcp.excerpt import Excerpt
from k8s_mcp.models import Ended, Event, Output, StreamName
from k8s_mcp.recorded import in_words
from k8s_mcp.runs.run import Run

_COMMAND_CHARACTERS = 80
_MOST_CHANGES = 50
"""Of those in a result: the rest is in the run's state."""


class Collected:
    """The events of one run within `limit` characters of output."""

    def __init__(self, run: Run, limit: int) -> None:
        self.run = run
        self._streams: dict[StreamName, Excerpt] = {"stdout": Excerpt(limit * 3 // 4), "stderr": Excerpt(limit // 4)}
        self._notes: list[str] = []
        self._last_line = 0

    def add(self, events: list[Event]) -> None:
        """Take what the run said."""
        for event in events:
            if isinstance(event, Output):
                self._streams[event.stream].add(event)
                self._last_line = event.last_id
            elif event.data["status"] == "gap":
                self._notes.append(f"[{event.data['missing']} lines of {event.data['stream'] or 'output'} were lost]")

    @property
    def is_cut(self) -> bool:
        """Whether some lines are left out."""
        return any(excerpt.left_out for excerpt in self._streams.values())

    @property
    def failed(self) -> bool:
        """Whether the command has ended, and not well."""
        ended = self.run.ended
        return ended is not None and (ended.status != "done" or ended.exit_code != 0)

    def text(self) -> str:
        """What a model reads, without the command."""
        stdout, stderr = self._texts()
        parts = [self.outcome(), *self._changes(), *self._notes, stdout]
        if self.run.spec.dry_run:
            parts.insert(1, "[dry run: changes were tried, none was made; exec, port-forward and tokens are refused]")
        if self.run.spec.read_only and self.failed:
            parts.insert(1, "[read-only run: changes, exec and port-forward are refused, Secrets are masked]")
        if stderr:
            parts += ["[stderr]", stderr]
        return "\n".join(part for part in parts if part).rstrip("\n")

    def data(self) -> dict[str, Any]:
        """The structured content."""
        run, ended = self.run, self.run.ended
        stdout, stderr = self._texts()
        requests = run.requests
        return {
            "run_id": run.run_id,
            "status": ended.status if ended else "running",
            "exit_code": ended.exit_code if ended else None,
            "stdout": stdout,
            "stderr": stderr,
            "truncated": self.is_cut,
            "total_lines": sum(excerpt.lines for excerpt in self._streams.values()),
            "seconds": round(run.seconds, 1),
            "readable_until": run.readable_until,
            **({"requests": requests.describe(_MOST_CHANGES)} if requests else {}),
        }

    def link(self) -> types.ResourceLink:
        """To all of the output."""
        return link_to(self.run.run_id)

    def outcome(self) -> str:
        """How the run ended; or that it goes on, and how to go on with it."""
        run, ended = self.run, self.run.ended
        if ended:
            return outcome(ended, run.seconds, run.spec.timeout)
        return (
            f"still running after {run.seconds:.0f} s; "
            f'read_output(run_id="{run.run_id}", start_line={self._last_line + 1}, wait=45) waits for the rest, '
            "cancel_run ends it"
        )

    def _changes(self) -> Iterator[str]:
        """What the command changed, a line each."""
        requests = self.run.requests
        if requests is None:
            return
        for change in requests.changes[:_MOST_CHANGES]:
            yield f"[change: {in_words(change.describe())}]"
        if requests.truncated or len(requests.changes) > _MOST_CHANGES:
            yield "[there were more changes]"
        if self.run.ended and not requests.complete:
            yield "[the record of changes is not complete]"

    def _texts(self) -> tuple[str, str]:
        both = all(excerpt.lines for excerpt in self._streams.values())
        until = f" until {self.run.readable_until}" if self.run.readable_until else ""
        texts: list[str] = []
        for name, excerpt in self._streams.items():
            stream = f', stream="{name}"' if both else ""
            texts.append(
                excerpt.text(
                    f'[… lines left out: {{count}}; read_output(run_id="{self.run.run_id}", start_line={{line}}'
                    f"{stream}) reads them{until} …]"
                )
            )
        return texts[0], texts[1]


def shortened(command: str) -> str:
    """The command, for whoever knows it already."""
    return command if len(command) <= _COMMAND_CHARACTERS else f"{command[:_COMMAND_CHARACTERS]}…"


def outcome(ended: Ended, seconds: float, timeout: int) -> str:
    """How a run ended, and after how many seconds, in a few words."""
    if ended.status == "done":
        return f"exit code {ended.exit_code} after {seconds:.1f} s"
    if ended.status == "timeout":
        return f"timed out after {timeout} s; give it a longer `timeout`, or ask for less"
    said = " ".join(part for part in (ended.status, ended.reason, ended.message) if part)
    return f"{said} after {seconds:.1f} s"
