"""The pictures of what happens in time."""

from docs.pictures.sequence import Note, Says, elements, size
from docs.pictures.svg import both

_TAKEOVER = (
    ("client", "replica A", "API server", "the run's pod", "replica B"),
    [
        Says(0, 1, "POST /sse"),
        Says(1, 2, "Job (suspended), Secret, go"),
        Says(2, 3, "starts it, once"),
        Says(3, 1, "log: numbered frames", dashed=True),
        Says(1, 0, "events 1 to 120", dashed=True),
        Note(1, "killed"),
        Note(3, "the command goes on"),
        Note(2, "A's Lease runs out"),
        Says(4, 2, "the Job is mine, if nobody changed it meanwhile"),
        Says(0, 4, "GET /runs/ID/events, Last-Event-ID: 120"),
        Says(3, 4, "log, from its start", dashed=True),
        Says(4, 0, "events from 121 on, the final event", dashed=True),
        Says(4, 2, "delete Secret, Job, pod, by their uid"),
    ],
    175.0,
    (
        "A replica is killed while a run goes on: the command goes on in its pod, another replica takes the run over "
        "once the first one's Lease has run out, and the client gets the rest of the events from there."
    ),
)
_LOGIN = (
    ("MCP client", "k8s-mcp-server", "issuer", "Alice's browser"),
    [
        Says(0, 1, "POST /mcp, no token"),
        Says(1, 0, "401, and where to ask", dashed=True),
        Says(0, 1, "GET /.well-known/oauth-protected-resource"),
        Says(1, 0, "the issuer, the scopes", dashed=True),
        Says(0, 3, "opens the issuer's login, with a PKCE challenge"),
        Says(3, 2, "Alice logs in"),
        Says(3, 0, "a code", dashed=True),
        Says(0, 2, "the code, and the PKCE verifier"),
        Says(2, 0, "a token for this service", dashed=True),
        Says(0, 1, "POST /mcp, Bearer …"),
        Says(1, 2, "its keys, every five minutes"),
        Note(1, "signature, audience, time; then the policy"),
        Says(1, 0, "the tool's result", dashed=True),
    ],
    265.0,
    (
        "An MCP client without a token learns from the 401 which issuer to ask, has Alice log in with her browser, "
        "and comes back with a token, which the service checks with the issuer's keys."
    ),
)


def drawn() -> dict[str, dict[str, str]]:
    """Each picture by its name, and by theme."""
    pictures: dict[str, dict[str, str]] = {}
    for name, (actors, steps, gap, title) in {"takeover": _TAKEOVER, "login": _LOGIN}.items():
        width, height = size(actors, steps, gap)
        made = elements(actors, steps, gap)
        pictures[name] = both(width=width, height=height, title=title, elements=made)
    return pictures
