"""Events to bytes, many at a time. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html

Every output event is four lines: `event: stdout`, `data: …`, `id: N` and an empty one. Clients see each line as an
event of its own; here a whole block of lines becomes one piece of bytes, because one call per line would be the
slowest part of the service.
"""

import json
from collections.abc import Iterable

from k8s_mcp.models import Control, Event, Output

MEDIA_TYPE = "text/event-stream"
PING = b": ping\n\n"
PING_SECONDS = 15.0

_THOUSAND = 1000
_HEADS = {stream: b"event: %b\ndata: " % stream.encode() for stream in ("stdout", "stderr")}
_TAILS = {
    stream: [b"%03d\n\nevent: %b\ndata: " % (number, stream.encode()) for number in range(_THOUSAND)]
    for stream in ("stdout", "stderr")
}


def encode(events: Iterable[Event]) -> bytes:
    """The events' bytes, in order."""
    parts: list[bytes] = []
    for event in events:
        if isinstance(event, Output):
            _add_output(parts, event)
        else:
            parts.append(_control(event))
    return b"".join(parts)


def _control(event: Control) -> bytes:
    data = json.dumps(event.data, ensure_ascii=False).encode("utf-8", "replace")
    number = b"" if event.id is None else b"id: %d\n" % event.id
    return b"event: control\ndata: %b\n%b\n" % (data, number)


def _add_output(parts: list[bytes], event: Output) -> None:
    # Between two lines stand the id of the first and the head of the second: "\nid: 12" + "345\n\nevent:
    # stdout\ndata: ". Only the first part has to be made, once for a thousand lines; slices put both in place without
    # a loop over the lines. All parts of all events are joined at once, since each copy of bulk output costs.
    tails = _TAILS[event.stream]
    parts.append(_HEADS[event.stream])
    start = len(parts)
    parts += [b""] * (3 * event.count)
    parts[start::3] = event.data.split(b"\n")
    done = 0
    while done < event.count:
        thousands, rest = divmod(event.first_id + done, _THOUSAND)
        count = min(_THOUSAND - rest, event.count - done)
        first, end = start + 3 * done, start + 3 * (done + count)
        if thousands:
            parts[first + 1 : end : 3] = [b"\nid: %d" % thousands] * count
            parts[first + 2 : end : 3] = tails[rest : rest + count]
        else:
            parts[first + 1 : end : 3] = [b"\nid: "] * count
            parts[first + 2 : end : 3] = [tail.lstrip(b"0") for tail in tails[rest : rest + count]]
        done += count
    parts[-1] = b"%03d\n\n" % (event.last_id % _THOUSAND) if event.last_id >= _THOUSAND else b"%d\n\n" % event.last_id
