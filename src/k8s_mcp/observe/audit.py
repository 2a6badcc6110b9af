"""The audit log: who did what, where, and how it ended; one JSON object a line. docs/audit.md has the fields.

A run has a line when it begins and one when it has ended and was cleaned up: one that a killed service never ended
has its first. A beginning that cannot be written down does not happen; an end that cannot goes to the service's log.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from k8s_mcp.errors import Unavailable
from k8s_mcp.log_format import json_line, now
from k8s_mcp.models import Ended, Principal, StreamName
from k8s_mcp.observe.audit_queue import Begun
from k8s_mcp.observe.facts import (
    Amount,
    CancelRequested,
    Content,
    HandleDeleted,
    HandleStored,
    Happening,
    Observed,
    OrphanRemoved,
    Outcome,
    Refused,
    RunEnded,
    RunFacts,
    RunReleased,
    RunStarted,
    Target,
)

Json = dict[str, object]

_REFUSALS_PER_SECOND = 50.0
_REFUSALS_AT_ONCE = 500.0

_logger = logging.getLogger(__name__)


class AuditLog:
    """Writes a line for whatever concerns an auditor. `write` takes whole lines and raises OSError.

    `command_bytes`: how much of a command is written; its hash always is. `on_failure` is called for each line that
    could not be written. `later` takes lines that nobody has to wait for.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        command_bytes: int,
        on_failure: Callable[[], None],
        later: Callable[[str], None] | None = None,
    ) -> None:
        self._write = write
        self._later = later or write
        self._command_bytes = command_bytes
        self._on_failure = on_failure
        self._refusals = Allowance(_REFUSALS_PER_SECOND, _REFUSALS_AT_ONCE)

    def observe(self, happening: Happening) -> None:
        """Raises Unavailable if the beginning of a run cannot be written down."""
        unwritten = 0
        if isinstance(happening, Refused):
            allowed, unwritten = self._refusals.take(time.monotonic())
            if not allowed:
                return
        entry = entry_of(happening, self._command_bytes)
        if entry is None:
            return
        if unwritten:
            entry["unwritten"] = unwritten
        line = f"{json_line({'time': now(), **entry})}\n"
        try:
            (self._write if isinstance(happening, RunStarted) else self._later)(line)
        except OSError as error:
            not_written(error, line, self._on_failure)
            if isinstance(happening, RunStarted):
                if isinstance(error, Begun):
                    self.observe(_never_begun(happening.run))
                raise Unavailable(
                    "the audit log cannot be written, so no command can be run; the operator has to make room for it"
                ) from error


def not_written(error: OSError, line: str, on_failure: Callable[[], None]) -> None:
    """The line goes to the service's log instead."""
    on_failure()
    _logger.error("the audit log cannot be written (%s): %s", error.strerror, line.rstrip("\n"))


def _never_begun(run: RunFacts) -> RunEnded:
    """The end of a run that was refused while its first line was being written."""
    ended = Ended("error", None, "AuditLogBehind", "the audit log could not keep up")
    amounts: dict[StreamName, Amount] = {"stdout": Amount(), "stderr": Amount()}
    return RunEnded(run, Outcome(ended, None, now(), amounts, 0, 0, {}, ""), command_started=False, seconds=0)


@dataclass
class Allowance:
    """So many a second on average, and so many at once: a flood of refused requests must not fill a disk."""

    per_second: float
    at_once: float

    def __post_init__(self) -> None:
        self._left = self.at_once
        self._at = 0.0
        self._turned_away = 0

    def take(self, now: float) -> tuple[bool, int]:
        """Whether there is one left at `now` (monotonic seconds); if so, how many were turned away before."""
        self._left = min(self._left + (now - self._at) * self.per_second, self.at_once)
        self._at = now
        if self._left < 1:
            self._turned_away += 1
            return False, 0
        self._left -= 1
        before, self._turned_away = self._turned_away, 0
        return True, before


def entry_of(happening: Happening, command_bytes: int) -> Json | None:
    """What is written about it, but for the time; None for what is no auditor's business."""
    match happening:
        case RunStarted(run):
            event = "run.adopted" if run.adopted else "run.started"
            return {"event": event, **_run(run, command_bytes)}
        case RunEnded(run, outcome):
            return {"event": "run.ended", **_run(run, command_bytes), **_outcome(run, outcome)}
        case RunReleased(run):
            return {"event": "run.released", "run_id": run.run_id, **_principal(run.principal)}
        case OrphanRemoved():
            return {
                "event": "run.ended",
                "run_id": happening.run_id,
                "cluster": _cluster(Target(happening.server)),
                "created": happening.created,
                "status": "cancelled",
                "exit_code": None,
                "reason": "ReplicaLost",
            }
        case CancelRequested(principal, via, run_id):
            return {"event": "run.cancel", "run_id": run_id, "via": via, **_principal(principal)}
        case Observed(principal, via, look, run_id, whose):
            of = {"run_id": run_id or None, "of": whose or None}
            return {"event": "run.observed", "look": look, **of, "via": via, **_principal(principal)}
        case HandleStored(principal, target, ttl):
            return {"event": "cluster.stored", "cluster": _cluster(target), "ttl": ttl, **_principal(principal)}
        case HandleDeleted(principal, name):
            return {"event": "cluster.deleted", "cluster": {"handle": name}, **_principal(principal)}
        case Refused():
            return {"event": "request.refused", **_refusal(happening)}
        case _:
            return None


def _run(run: RunFacts, command_bytes: int) -> Json:
    return {
        "run_id": run.run_id,
        **_principal(run.principal),
        "via": run.via,
        "cluster": _cluster(run.target),
        "command": _cut(run.command, command_bytes),
        "command_size": run.command_content.size if run.command_content else None,
        "command_sha256": run.command_content.sha256 if run.command_content else None,
        "stdin": _content(run.stdin_content),
        "timeout": run.timeout,
        "read_only": run.read_only,
        "dry_run": run.dry_run,
        "rule": run.rule or None,
        "idempotency_key": run.idempotent,
        "created": run.created,
    }


def _outcome(run: RunFacts, outcome: Outcome) -> Json:
    return {
        "adopted": run.adopted,
        "status": outcome.ended.status,
        "exit_code": outcome.ended.exit_code,
        "reason": outcome.ended.reason or None,
        "started": outcome.started_at,
        "ended": outcome.ended_at,
        "seconds": _seconds_between(run.created, outcome.ended_at),
        **{name: {"bytes": amount.bytes, "lines": amount.lines} for name, amount in outcome.amounts.items()},
        "gaps": outcome.gaps,
        "lost_lines": outcome.lost_lines,
        **outcome.place,
        **({"requests": outcome.requests.describe()} if outcome.requests else {}),
        "cleanup": "failed" if outcome.left else "removed",
        "left": outcome.left or None,
    }


def _refusal(refused: Refused) -> Json:
    return {
        "status": refused.status,
        "reason": refused.reason,
        "fields": list(refused.fields),
        "via": refused.via,
        "method": refused.method or None,
        "path": refused.path or None,
        **(_principal(refused.principal) if refused.principal else {"principal": None}),
        "address": refused.address,
    }


def _principal(principal: Principal) -> Json:
    return {"principal": principal.name, "address": principal.address}


def _cluster(target: Target) -> Json:
    return {
        "server": target.server,
        "context": target.context or None,
        "ca_sha256": target.fingerprint or None,
        "handle": target.handle or None,
    }


def _content(content: Content | None) -> Json | None:
    return {"size": content.size, "sha256": content.sha256} if content else None


def _cut(command: str | None, most: int) -> str | None:
    if command is None or most == 0:
        return None
    return command.encode()[:most].decode("utf-8", "ignore")


def _seconds_between(start: str, end: str) -> float | None:
    """None for times that are none: a run's beginning is an annotation, which others can change."""
    try:
        return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)
    except (TypeError, ValueError):
        return None
