"""`k8s-mcp serve`: the service in the foreground, until a signal ends it."""

import gc
from pathlib import Path

import uvicorn

from k8s_mcp import __version__, log_format
from k8s_mcp.app import create_app
from k8s_mcp.auth.guard import is_loopback
from k8s_mcp.cli.tell import tell
from k8s_mcp.errors import StartError
from k8s_mcp.settings import Settings
from k8s_mcp.transport.connections import Connections
from k8s_mcp.transport.server import Server, allow_connections
from k8s_mcp.transport.tls import Certificate

LOOP = "asyncio"
"""Not uvloop, which is up to 1.1 times as fast: where a TLS handshake ends by a reset, it closes file descriptors
that are another connection's by then (https://github.com/MagicStack/uvloop/issues/653), here of other people's runs.
"""

_FAILED, _USAGE_ERROR = 1, 2


def serve(settings: Settings) -> int:
    """Serve until a signal; the exit code."""
    refused = refused_host(settings)
    if refused:
        tell(refused)
        return _USAGE_ERROR
    try:
        _server(settings).run()
    except StartError as error:
        tell(str(error))
        return _FAILED
    return 0


def refused_host(settings: Settings) -> str:
    """Why the service does not listen there; empty if it does."""
    if is_loopback(settings.host) or settings.authenticates or settings.insecure_no_auth:
        return ""
    return (
        f"refusing to listen on {settings.host}: anyone who reaches the port could run commands. "
        "Say who may call (docs/authentication.md: --auth-tokens and others), listen on 127.0.0.1, or say "
        "--insecure-no-auth if something else keeps strangers out."
    )


def _server(settings: Settings) -> Server:
    """The service, ready to run. Raises StartError."""
    try:
        settings.host.encode("idna")
    except UnicodeError:
        raise StartError(f"cannot listen on {settings.host!r}: that is no host's name") from None
    app = create_app(settings)
    certificate = certificate_of(settings)
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        loop=LOOP,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        ws="none",
    )

    async def drain() -> None:
        await app.state.runs.drain(settings.shutdown_grace)
        await app.state.unanswered.end()

    def on_listening(url: str) -> None:
        text = f"k8s-mcp {__version__} listening on {url}, executor: {settings.executor}"
        log_format.announce(text, settings.log_format)

    allow_connections(settings.max_connections)
    gc.freeze()  # what was imported and built stays; to look it through takes 0.1 s each time, and 0.5 s at the end
    return Server(app, config, drain, on_listening, Connections(settings.max_connections), certificate)


def certificate_of(settings: Settings) -> Certificate | None:
    """What to serve https with, if that is set. Raises StartError."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise StartError("K8S_MCP_TLS_CERTIFICATE and K8S_MCP_TLS_KEY (--tls-certificate, --tls-key) go together")
    return Certificate(Path(settings.tls_certificate), Path(settings.tls_key)) if settings.tls_key else None
