"""What is kept of a run that is over: its row, made of facts, and read again. Pure.

Texts are JSON in ASCII: whatever a caller has written, a database takes it.
"""

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from k8s_mcp.models import Control, Ended, Event, Output, RunSpec, owner_of
from k8s_mcp.observe.facts import OrphanRemoved, RunEnded
from k8s_mcp.run_state import COMMAND_CHARACTERS, describe

Json = dict[str, Any]
Timed = tuple[float, Event]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_MOST_UNPACKED = 32 * 2**20
_LOST = Ended("cancelled", None, "ReplicaLost")


@dataclass(frozen=True, slots=True)
class Row:
    """As the database has it. `output` is packed; `sure` says whether it wins over what is there of the same run."""

    run_id: str
    owner: str
    created: str
    ended: str
    state: str
    requests: str | None = None
    output: bytes | None = None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that is over. `state` is as clients get it; `requests` is there for one run, not in lists."""

    spec: RunSpec
    state: Json
    requests: Json | None = None
    has_output: bool = False

    @property
    def how(self) -> Ended:
        """How it ended."""
        state = self.state
        return Ended(state["status"], state["exit_code"], state.get("reason", ""), state.get("message", ""))

    @property
    def seconds(self) -> float:
        """How long it took, from accepted on."""
        ended = datetime.fromisoformat(self.state["ended"])
        return (ended - datetime.fromisoformat(self.spec.created)).total_seconds()


def row_of_ended(fact: RunEnded, command_bytes: int) -> Row:
    """`command_bytes`: as many of the command are kept as the audit log may quote."""
    run, outcome = fact.run, fact.outcome
    state: Json = {
        "run_id": run.run_id,
        "status": outcome.ended.status,
        "exit_code": outcome.ended.exit_code,
        "created": run.created,
        "started": outcome.started_at,
        "ended": outcome.ended_at,
        "cluster": run.target.server,
        "handle": run.target.handle or None,
        "command": _beginning(run.command, command_bytes),
        "timeout": run.timeout,
        "read_only": run.read_only,
        "dry_run": run.dry_run,
        "bytes": sum(amount.bytes for amount in outcome.amounts.values()),
        "lines": sum(amount.lines for amount in outcome.amounts.values()),
        **outcome.ended.why,
    }
    return Row(
        run.run_id,
        owner_of(run.principal),
        _time(run.created, outcome.ended_at),
        outcome.ended_at,
        json.dumps({"principal": run.principal.name, **state}),
        json.dumps(outcome.requests.describe()) if outcome.requests else None,
        pack(outcome.sent) if outcome.sent else None,
    )


def row_of_orphan(spec: RunSpec, ended: str) -> Row:
    """Of a run whose replica is gone: what its Job said."""
    state = describe(spec, _LOST.status) | {"ended": ended, "reason": _LOST.reason}
    text = json.dumps({"principal": spec.principal, **state})
    return Row(spec.run_id, spec.owner, _time(spec.created, ended), ended, text, sure=False)


def row_of(fact: RunEnded | OrphanRemoved, command_bytes: int, now: str) -> Row | None:
    """None of what was no run that this service knew."""
    if isinstance(fact, RunEnded):
        return row_of_ended(fact, command_bytes)
    return row_of_orphan(fact.run, now) if fact.run else None


def past_run(run_id: str, owner: str, text: str, requests: str | None = None, *, has_output: bool = False) -> PastRun:
    """What a row says."""
    state: Json = json.loads(text)
    principal = str(state.pop("principal", ""))
    spec = RunSpec(
        run_id,
        "",
        owner,
        "",
        server=str(state.get("cluster")),
        timeout=int(state.get("timeout") or 0),
        created=_time(str(state.get("created")), str(state.get("ended"))),
        ended=str(state.get("status")),
        principal=principal,
    )
    return PastRun(spec, state, json.loads(requests) if requests else None, has_output)


def pack(sent: Sequence[Timed]) -> bytes:
    """Events and their times as a database keeps them."""
    lines = (json.dumps([at, *_fields(event)]) for at, event in sent)
    return zlib.compress("\n".join(lines).encode())


def _fields(event: Event) -> list[object]:
    if isinstance(event, Output):
        return [event.stream, event.first_id, event.count, event.data.decode("utf-8", "replace")]
    return ["control", event.id, event.final, dict(event.data)]


def unpack(packed: bytes) -> list[Timed]:
    """What was packed."""
    text = zlib.decompressobj().decompress(packed, _MOST_UNPACKED)
    return [_event(*json.loads(line)) for line in text.split(b"\n")]


def _event(at: float, kind: Any, number: int, second: int, content: object) -> Timed:
    if kind == "control":
        return at, Control(cast("Json", content), number, final=bool(second))
    return at, Output(kind, number, second, str(content).encode("utf-8", "replace"))


def _beginning(command: str | None, most: int) -> str | None:
    if command is None or most == 0:
        return None
    data = command.encode("utf-8", "replace")
    text = data[:most].decode("utf-8", "ignore")
    return text if len(text) <= COMMAND_CHARACTERS and len(data) <= most else f"{text[:COMMAND_CHARACTERS]}…"


def _time(said: str, otherwise: str) -> str:
    """A run's beginning may be an annotation, which others can change: only what is a time is sorted by."""
    return said if _TIME.fullmatch(said) else otherwise
