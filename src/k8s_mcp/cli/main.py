"""The command `k8s-mcp`. The first word says which subcommand, and nothing is imported for the others.

What a subcommand's options need takes time to import, too; so a parser has only those of the one that was chosen.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn, cast

from k8s_mcp import __version__
from k8s_mcp.cli.broken_pipe import nobody_reads

if TYPE_CHECKING:
    from k8s_mcp.settings import Settings


_FAILED, _INTERRUPTED, _CLOSED = 1, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the process's exit code."""
    output = cast("object", sys.stdout)
    if isinstance(output, TextIOWrapper):
        output.reconfigure(errors="backslashreplace")  # a server's name in a terminal that has not its letters
    try:
        try:
            return _run(arguments)
        finally:
            if isinstance(output, TextIOWrapper):
                output.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        if nobody_reads(error):
            _discard_output()
            return _CLOSED
        if error.errno not in {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG} or error.filename is not None:
            raise
        _discard_output()
        print(f"k8s-mcp: cannot write the output: {error.strerror}", file=sys.stderr)
        return _FAILED


def _discard_output() -> None:
    """Else the interpreter tries once more to write it when it ends, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(arguments: Sequence[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in COMMANDS:
        _overview(words)
    name, *rest = words
    options = parser_of(name).parse_args(rest)
    return options.run(options)


def parser_of(name: str) -> argparse.ArgumentParser:
    """Of one subcommand."""
    parser = argparse.ArgumentParser(prog=f"k8s-mcp {name}", allow_abbrev=False)
    _, add_options = COMMANDS[name]
    add_options(parser)
    return parser


def _overview(words: Sequence[str]) -> NoReturn:
    """Help, version, or what is wrong with a first word that names no subcommand."""
    parser = argparse.ArgumentParser(
        prog="k8s-mcp", description="Run shell commands against Kubernetes clusters, streamed live."
    )
    parser.add_argument("--version", action="version", version=f"k8s-mcp {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (help_text, _) in COMMANDS.items():
        commands.add_parser(name, help=help_text)
    parser.parse_args(words)
    parser.error("COMMAND must be the first word")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.settings_options import add_settings

    parser.description = "Run the service in the foreground."
    add_settings(parser, _serve)


def _add_check(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.settings_options import add_settings

    parser.description = "Say whether the service can do its work with these settings: exit code 0 if so, else 1."
    parser.add_argument("--json", action="store_true", help="all findings as JSON")
    add_settings(parser, _check)


def _add_clean(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.settings_options import add_settings

    parser.description = "Remove all that the service ever made in the namespace of its runner pods. Asks before."
    parser.add_argument("--dry-run", action="store_true", help="only say what there is")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_settings(parser, _clean)


def _serve(settings: "Settings", _: argparse.Namespace) -> int:
    from k8s_mcp.cli.serve import serve

    return serve(settings)


def _check(settings: "Settings", options: argparse.Namespace) -> int:
    from k8s_mcp.cli.check import check

    return check(settings, as_json=options.json)


def _clean(settings: "Settings", options: argparse.Namespace) -> int:
    from k8s_mcp.cli.clean import clean

    return clean(settings, dry_run=options.dry_run, yes=options.yes)


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
Only the current (or named) context is sent; files it names are embedded, and a
credential plugin (exec) is run here.
A connection that breaks is made again, and the output goes on where it stopped.
On several clusters (--cluster a --cluster b, or --all-clusters) the exit code is the
highest of theirs; one that cannot be reached does not hold up the others.

Exit code: the command's own, or
    2  wrong options               130  cancelled, by Ctrl-C or somebody else
  124  ended at its timeout        141  the reader of the output is gone (| head)
  125  the service or the run failed; why is on stderr"""
    add = parser.add_argument
    add_service_options(parser)
    add(
        "--kubeconfig",
        metavar="FILE",
        help="what to send; - is standard input [KUBECONFIG, its files merged, default ~/.kube/config]",
    )
    add("--context", metavar="NAME", help="the kubeconfig's context to use, instead of its current one")
    add("--all-contexts", action="store_true", help="send the other contexts as well")
    add(
        "--cluster",
        metavar="HANDLE",
        action="append",
        default=[],
        help="a kubeconfig that the service has stored under this name; repeated, the command runs on each of them "
        "at the same time, and every line begins with `HANDLE | `",
    )
    add("--all-clusters", action="store_true", help="on each that `k8s-mcp clusters list` shows")
    add("--timeout", metavar="SECONDS", type=int, help="end the command after so long [default: the service's, 300]")
    add("-d", "--detach", action="store_true", help="print the run's id and leave it: `k8s-mcp runs follow ID`")
    add("--read-only", action="store_true", help="let the command only read from the cluster; Secrets masked")
    add("--dry-run", action="store_true", help="let it read, and try changes that are not made; Secrets masked")
    add("--changes", action="store_true", help="say on stderr at the end what the command changed in the cluster")
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


def _add_runs(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.runs import add_options

    add_options(parser)


def _add_config(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.config import add_options

    add_options(parser)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    from k8s_mcp.cli.completion import add_options

    add_options(parser)


def _exec(options: argparse.Namespace) -> int:
    from k8s_mcp.cli.exec import execute

    return execute(options)


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "serve": ("run the service", _add_serve),
    "check": ("say whether the service can do its work", _add_check),
    "clean": ("remove all that the service made in the namespace of its runner pods", _add_clean),
    "token": ("make a token for somebody who may call the service", _add_token),
    "exec": ("run a command on a service, and stream its output", _add_exec),
    "runs": ("list, follow, record and cancel runs on a service", _add_runs),
    "clusters": ("store kubeconfigs on a service under names", _add_clusters),
    "policy": ("check a policy file, and say what somebody may do by it", _add_policy),
    "config": ("print the settings that hold, and where each is from", _add_config),
    "completion": ("print what makes a shell complete these commands", _add_completion),
}
