"""The command `k8s-mcp`."""

import argparse
import logging
import sys
from collections.abc import Awaitable, Sequence

from pydantic import ValidationError

from k8s_mcp import __version__
from k8s_mcp.auth import is_loopback
from k8s_mcp.settings import PREFIX, Settings

_USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the process's exit code."""
    options = _parser().parse_args(arguments)
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="k8s-mcp", description="Run shell commands against Kubernetes clusters, streamed live."
    )
    parser.add_argument("--version", action="version", version=f"k8s-mcp {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="run the service", description="Run the service in the foreground."))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"Each option can also be set by its environment variable, {PREFIX}…; the option wins."
    defaults = Settings.model_fields
    for name, field in defaults.items():
        default = field.default if isinstance(field.default, str | int | float) else ""
        text = f"{field.description} [{PREFIX}{name.upper()}" + (f", default {default}]" if default != "" else "]")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text, default=None)
        else:
            parser.add_argument(flag, help=text.replace("%", "%%"), metavar="VALUE", default=None)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    given = {name: value for name in Settings.model_fields if (value := getattr(options, name)) is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for item in error.errors(include_input=False):
            name = str(item["loc"][0])
            print(
                f"k8s-mcp: {PREFIX}{name.upper()} (--{name.replace('_', '-')}): {item['msg']}",
                file=sys.stderr,
            )
        return _USAGE_ERROR
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    if not is_loopback(settings.host) and not settings.insecure_no_auth:
        print(
            f"k8s-mcp: refusing to listen on {settings.host}: anyone who reaches the port could run commands. "
            "Listen on 127.0.0.1, or say --insecure-no-auth if something else keeps strangers out.",
            file=sys.stderr,
        )
        return _USAGE_ERROR

    import uvicorn

    from k8s_mcp.app import create_app
    from k8s_mcp.server import Server

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
    )

    def drain() -> Awaitable[None]:
        return app.state.runs.drain(settings.shutdown_grace)

    def on_listening(url: str) -> None:
        print(
            f"k8s-mcp {__version__} listening on {url}, executor: {settings.executor}",
            file=sys.stderr,
            flush=True,
        )

    Server(config, drain, on_listening).run()
    return 0
