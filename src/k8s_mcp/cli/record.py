"""`k8s-mcp runs record`: a run as a recording of asciinema's, version 2.

https://docs.asciinema.org/manual/asciicast/v2/
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from k8s_mcp.cli.replay import seconds_of
from k8s_mcp.cli.standard_files import FILES
from k8s_mcp.cli.tell import printable
from k8s_mcp.client.event_source import Control, Event, Lines
from k8s_mcp.client.remote_run import FINAL

_WIDTH, _HEIGHT = 120, 36  # commands have no terminal, so their lines have no width


def record(
    state: Mapping[str, object],
    events: Iterable[Event],
    write: Callable[[int, bytes], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Write a recording of the run with this state: a line for each event, as it comes.

    A line's time is the one at which it was sent, since the run's start, where the service has kept that. Else it is
    that of its arrival: what was written before somebody came to record has that time, and the output of a run that
    is over all comes at its beginning. Raises OSError.
    """
    created = _time(state.get("created"))
    started = _time(state.get("started")) or created or now()
    waited = (started - created).total_seconds() if created else 0.0
    ended = _time(state.get("ended"))
    sent: float | None = None
    header = {"version": 2, "width": _WIDTH, "height": _HEIGHT, "timestamp": int(started.timestamp())}
    title = printable(str(state.get("command") or state.get("run_id")))
    write(FILES["stdout"], _line({**header, "title": title}))
    last = 0.0
    for event in events:
        sent = sent if (said := seconds_of(event)) is None else said
        entry = _entry(event)
        if entry is None:
            continue
        kind, text = entry
        if sent is not None:
            last = max(sent - waited, last)
        elif ended is not None:
            last = max((ended - started).total_seconds(), 0) if kind == "m" else 0.0
        else:
            last = max((now() - started).total_seconds(), last)
        write(FILES["stdout"], _line((round(last, 6), kind, text)))


def _entry(event: Event) -> tuple[str, str] | None:
    """Output as a terminal gets it, or how the run ended, as a marker."""
    if isinstance(event, Lines):
        return "o", event.data.decode("utf-8", "replace").replace("\n", "\r\n")
    return _said(event)


def _said(event: Control) -> tuple[str, str] | None:
    status = str(event.data.get("status"))
    if status == "gap":
        return "o", f"[{event.data.get('missing')} lines were lost on the way]\r\n"
    if status not in FINAL:
        return None
    code = event.data.get("exit_code")
    return "m", status if code is None else f"{status}, exit code {code}"


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else None
