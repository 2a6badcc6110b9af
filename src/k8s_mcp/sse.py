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
_TAILS = {
    stream: [b"%03d\n\nevent: %b\ndata: " % (number, stream.encode()) for number in range(_THOUSAND)]
    for stream in ("stdout", "stderr")
}


def encode(events: Iterable[Event]) -> bytes:
    """The events' bytes, in order."""
    return b"".join([_output(event) if isinstance(event, Output) else _control(event) for event in events])


def _control(event: Control) -> bytes:
    data = json.dumps(event.data, ensure_ascii=False).encode("utf-8", "replace")
    number = b"" if event.id is None else b"id: %d\n" % event.id
    return b"event: control\ndata: %b\n%b\n" % (data, number)


def _output(event: Output) -> bytes:
    # Between two lines stand the id of the first and the head of the second: "\nid: 12" + "345\n\nevent:
    # stdout\ndata: ". Only the first part has to be made, once for a thousand lines; slices put both in place without
    # a loop over the lines.
    tails = _TAILS[event.stream]
    parts = [b""] * (3 * event.count)
    parts[::3] = event.data.split(b"\n")
    done = 0
    while done < event.count:
        thousands, rest = divmod(event.first_id + done, _THOUSAND)
        count = min(_THOUSAND - rest, event.count - done)
        first, end = 3 * done, 3 * (done + count)
        if thousands:
            parts[first + 1 : end : 3] = [b"\nid: %d" % thousands] * count
            parts[first + 2 : end : 3] = tails[rest : rest + count]
        else:
            parts[first + 1 : end : 3] = [b"\nid: "] * count
            parts[first + 2 : end : 3] = [tail.lstrip(b"0") for tail in tails[rest : rest + count]]
        done += count
    parts[-1] = b"%03d\n\n" % (event.last_id % _THOUSAND) if event.last_id >= _THOUSAND else b"%d\n\n" % event.last_id
    return b"event: %b\ndata: %b" % (event.stream.encode(), b"".join(parts))
