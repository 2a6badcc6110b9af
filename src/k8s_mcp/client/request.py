"""What `k8s-mcp exec` sends, from its options: command, kubeconfig, standard input."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from k8s_mcp.client.kubeconfig_files import FileError, Source, find, merge, read_file
from k8s_mcp.client.sent_kubeconfig import Choice, Sent, prepare
from k8s_mcp.client.service import InputError, UsageError
from k8s_mcp.limits import REQUEST_BYTES

STDIN = "-"
"""What names standard input in the place of a file."""


def run_request(options: argparse.Namespace, tell: Callable[[str], None]) -> Mapping[str, object]:
    """The body of `POST /sse`, without the name of a cluster. Raises UsageError or InputError."""
    if options.stdin and options.kubeconfig == STDIN:
        raise UsageError("--kubeconfig - and --stdin exclude each other: there is one standard input")
    words: list[str] = options.command
    if words[0] == "--":  # argparse leaves it there up to Python 3.11
        words = words[1:]
    request = {"command": words[0] if len(words) == 1 else shlex.join(words)}
    if not options.cluster and not options.all_clusters:
        request["kubeconfig"] = read_kubeconfig(options, tell).text
    if options.stdin:
        request["stdin"] = _text_from_stdin()
    _check(request)
    more = {
        "timeout": options.timeout,
        "read_only": options.read_only or None,
        "dry_run": options.dry_run or None,
    }
    return {**request, **{name: value for name, value in more.items() if value is not None}}


def check_options(options: argparse.Namespace) -> None:
    """Raises UsageError for options that make no sense together."""
    if options.cluster and options.all_clusters:
        raise UsageError("--cluster and --all-clusters exclude each other")
    if options.detach and (options.all_clusters or len(set(options.cluster)) > 1):
        raise UsageError("--detach goes with one cluster only")
    if options.detach and options.changes:
        raise UsageError("--changes are said at the end of a run; with --detach nobody waits for that")
    named = [flag for flag in ("kubeconfig", "context", "all_contexts") if getattr(options, flag)]
    if named and (options.cluster or options.all_clusters):
        clusters = "--cluster" if options.cluster else "--all-clusters"
        raise UsageError(f"{clusters} and --{named[0].replace('_', '-')} exclude each other")


def read_kubeconfig(options: argparse.Namespace, tell: Callable[[str], None]) -> Sent:
    """What to send of the kubeconfig that the options name. Raises InputError."""
    name = options.kubeconfig
    choice = Choice(
        context=options.context or "",
        all_contexts=options.all_contexts,
        stdin_is_free=name != STDIN and not getattr(options, "stdin", False),
    )
    try:
        if name == STDIN:
            sources = [Source("standard input", Path(), standard_input())]
        else:
            sources = [read_file(name)] if name else find(os.environ)
        return prepare(merge(sources), choice, tell)
    except FileError as error:
        raise InputError(str(error)) from error


def standard_input() -> bytes:
    """All of it. Raises InputError when that is more than can be sent."""
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(REQUEST_BYTES + 1)
    if len(data) > REQUEST_BYTES:
        raise InputError(f"standard input is over {REQUEST_BYTES // 1024} KiB, the most that can be sent")
    return data


def _text_from_stdin() -> str:
    try:
        return standard_input().decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input is not text in UTF-8 (byte {error.start}); send it through base64, "
            "and the command can decode it"
        ) from error


def _check(request: dict[str, str]) -> None:
    try:
        sizes = {name: len(text.encode()) for name, text in request.items()}
    except UnicodeEncodeError as error:
        raise InputError("the command is not text in UTF-8") from error
    if sum(sizes.values()) > REQUEST_BYTES:
        parts = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise InputError(f"too large: together at most {REQUEST_BYTES} bytes ({parts})")
