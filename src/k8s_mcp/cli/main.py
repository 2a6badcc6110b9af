"""The command `k8s-mcp`."""

import argparse
import logging
import os
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from k8s_mcp import __version__, log_format

if TYPE_CHECKING:
    from k8s_mcp.settings import Settings
    from k8s_mcp.transport.tls import Certificate

_USAGE_ERROR = 2
_OTHER_VARIABLES = frozenset(("url", "token", "token_file", "ca_file", "cache", "api_server_ports"))
# of the client, and of `make images`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the process's exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser(words[0] if words else "").parse_args(words)
    return options.run(options)


def _parser(chosen: str) -> argparse.ArgumentParser:
    """Knows every subcommand, but only the chosen one's options: what they need takes time to import."""
    parser = argparse.ArgumentParser(
        prog="k8s-mcp", description="Run shell commands against Kubernetes clusters, streamed live."
    )
    parser.add_argument("--version", action="version", version=f"k8s-mcp {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, help_text, add_options in (
        ("serve", "run the service", _add_serve),
        ("check", "say whether the service can do its work", _add_check),
        ("clean", "remove all that the service made in the namespace of its runner pods", _add_clean),
        ("token", "make a token for somebody who may call the service", _add_token),
        ("exec", "run a command on a service, and stream its output", _add_exec),
        ("clusters", "store kubeconfigs on a service under names", _add_clusters),
        ("policy", "check a policy file, and say what somebody may do by it", _add_policy),
    ):
        command = commands.add_parser(name, help=help_text, allow_abbrev=False)
        if name == chosen:
            add_options(command)
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run the service in the foreground."
    _add_settings(parser)
    parser.set_defaults(run=_serve)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say whether the service can do its work with these settings: exit code 0 if so, else 1."
    parser.add_argument("--json", action="store_true", help="all findings as JSON")
    _add_settings(parser)
    parser.set_defaults(run=_check)


def _add_clean(parser: argparse.ArgumentParser) -> None:
    parser.description = "Remove all that the service ever made in the namespace of its runner pods. Asks before."
    parser.add_argument("--dry-run", action="store_true", help="only say what there is")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _add_settings(parser)
    parser.set_defaults(run=_clean)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.settings import PREFIX, Settings

    parser.epilog = f"Each option can also be set by its environment variable, {PREFIX}…; the option wins."
    for name, field in Settings.model_fields.items():
        default = field.default if isinstance(field.default, str | int | float) else ""
        text = f"{field.description} [{PREFIX}{name.upper()}" + (f", default {default}]" if default != "" else "]")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text, default=None)
        else:
            parser.add_argument(flag, help=text.replace("%", "%%"), metavar="VALUE", default=None)


def _settings(options: argparse.Namespace) -> "Settings | None":
    """From the environment and the options; None, and a message for each, when some are wrong."""
    from pydantic import ValidationError

    from k8s_mcp.settings import PREFIX, Settings

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
        return None
    log_format.configure(settings.log_level.upper(), settings.log_format)
    _warn_of_unknown_variables(PREFIX, set(Settings.model_fields))
    return settings


def _check(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return _USAGE_ERROR
    from k8s_mcp.cli.check import check

    return check(settings, as_json=options.json)


def _clean(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return _USAGE_ERROR
    from k8s_mcp.cli.clean import clean

    return clean(settings, dry_run=options.dry_run, yes=options.yes)


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return _USAGE_ERROR

    from k8s_mcp.auth.guard import is_loopback
    from k8s_mcp.errors import StartError

    if not is_loopback(settings.host) and not settings.authenticates and not settings.insecure_no_auth:
        print(
            f"k8s-mcp: refusing to listen on {settings.host}: anyone who reaches the port could run commands. "
            "Say who may call (docs/authentication.md: --auth-tokens and others), listen on 127.0.0.1, or say "
            "--insecure-no-auth if something else keeps strangers out.",
            file=sys.stderr,
        )
        return _USAGE_ERROR

    import uvicorn

    from k8s_mcp.app import create_app
    from k8s_mcp.transport.connections import Connections
    from k8s_mcp.transport.server import Server, allow_connections

    try:
        app = create_app(settings)
        certificate = _certificate(settings)
    except StartError as error:
        print(f"k8s-mcp: {error}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        ws="none",
    )

    def drain() -> Awaitable[None]:
        return app.state.runs.drain(settings.shutdown_grace)

    def on_listening(url: str) -> None:
        text = f"k8s-mcp {__version__} listening on {url}, executor: {settings.executor}"
        log_format.announce(text, settings.log_format)

    try:
        allow_connections(settings.max_connections)
        Server(app, config, drain, on_listening, Connections(settings.max_connections), certificate).run()
    except StartError as error:
        print(f"k8s-mcp: {error}", file=sys.stderr)
        return 1
    return 0


def _certificate(settings: "Settings") -> "Certificate | None":
    from k8s_mcp.errors import StartError
    from k8s_mcp.transport.tls import Certificate

    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise StartError("K8S_MCP_TLS_CERTIFICATE and K8S_MCP_TLS_KEY (--tls-certificate, --tls-key) go together")
    return Certificate(Path(settings.tls_certificate), Path(settings.tls_key)) if settings.tls_key else None


def _add_exec(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.client.service import add_service_options

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "k8s-mcp exec [OPTION]... -- COMMAND..."
    parser.description = """\
Run a command on a k8s-mcp service, against the cluster of your kubeconfig. Its output
comes here live, its exit code becomes this one, and Ctrl-C ends it there.

One COMMAND word is a whole shell line:   -- 'kubectl get pods -A | wc -l'
Several are words, quoted for the shell:  -- kubectl get pods -l 'app in (a, b)'"""
    parser.epilog = """\
Only the current (or named) context is sent; files it names are embedded.
A connection that breaks is made again, and the output goes on where it stopped.

Exit code: the command's own, or
    2  wrong options               130  cancelled, by Ctrl-C or somebody else
  124  ended at its timeout        141  the reader of the output is gone (| head)
  125  the service or the run failed; why is on stderr"""
    add = parser.add_argument
    add_service_options(parser)
    add(
        "--kubeconfig",
        metavar="FILE",
        help="what to send; - is standard input [KUBECONFIG (its first file), default ~/.kube/config]",
    )
    add("--context", metavar="NAME", help="the kubeconfig's context to use, instead of its current one")
    add("--all-contexts", action="store_true", help="send the other contexts as well")
    add("--cluster", metavar="HANDLE", help="a kubeconfig that the service has stored under this name")
    add("--timeout", metavar="SECONDS", type=int, help="end the command after so long [default: the service's, 300]")
    add("--read-only", action="store_true", help="let the command read from the cluster only, and no Secrets")
    add("-i", "--stdin", action="store_true", help="send standard input (text, read to its end first, up to 900 KiB)")
    add("command", metavar="COMMAND", nargs=argparse.PARSER, help=argparse.SUPPRESS)
    parser.set_defaults(run=_exec)


def _add_token(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.token import add_options

    add_options(parser)


def _add_clusters(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.clusters import add_options

    add_options(parser)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.policy import add_options

    add_options(parser)


def _exec(options: argparse.Namespace) -> int:
    try:
        from k8s_mcp.cli.exec import execute

        return execute(options)
    except KeyboardInterrupt:  # before there was a run
        return 130


def _warn_of_unknown_variables(prefix: str, fields: set[str]) -> None:
    """A misspelt setting would otherwise be a setting that silently has no effect."""
    for name in sorted(os.environ):
        field = name.removeprefix(prefix).lower()
        if name.startswith(prefix) and field not in fields | _OTHER_VARIABLES and not field.startswith("test_"):
            logging.getLogger(__name__).warning("%s is not a setting of this service", name)
