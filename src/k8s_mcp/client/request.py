"""What `k8s-mcp exec` sends, from its options: command, kubeconfig, standard input."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from k8s_mcp.client.service import InputError, UsageError
from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.kubeconfig import flatten
from k8s_mcp.limits import REQUEST_BYTES

_DEFAULT_KUBECONFIG = "~/.kube/config"
_STDIN = "-"


def run_request(options: argparse.Namespace, tell: Callable[[str], None]) -> Mapping[str, object]:
    """The body of `POST /sse`. Raises UsageError or InputError."""
    named = [flag for flag in ("kubeconfig", "context", "all_contexts") if getattr(options, flag)]
    if options.cluster and named:
        raise UsageError(f"--cluster and --{named[0].replace('_', '-')} exclude each other")
    if options.stdin and options.kubeconfig == _STDIN:
        raise UsageError("--kubeconfig - and --stdin exclude each other: there is one standard input")
    words: list[str] = options.command
    if words[0] == "--":  # argparse leaves it there up to Python 3.11
        words = words[1:]
    request = {"command": words[0] if len(words) == 1 else shlex.join(words)}
    if options.cluster:
        request["cluster"] = options.cluster
    else:
        request["kubeconfig"] = read_kubeconfig(options, tell)
    if options.stdin:
        request["stdin"] = _standard_input()
    _check(request)
    more = {"timeout": options.timeout, "read_only": options.read_only or None}
    return {**request, **{name: value for name, value in more.items() if value is not None}}


def read_kubeconfig(options: argparse.Namespace, tell: Callable[[str], None]) -> str:
    """The kubeconfig that the options name, flattened. Raises InputError."""
    name = options.kubeconfig or _default_kubeconfig(tell)
    directory = Path() if name == _STDIN else Path(name).parent
    shown = "standard input" if name == _STDIN else name
    try:
        text = _standard_input() if name == _STDIN else Path(name).read_text("utf-8")
        return flatten(
            text, lambda file: (directory / file).read_bytes(), options.context, all_contexts=options.all_contexts
        )
    except OSError as error:
        raise InputError(
            f"the kubeconfig {shown} cannot be read: {error.strerror}; name one with --kubeconfig"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"the kubeconfig {shown} is not text in UTF-8") from error
    except KubeconfigError as error:
        raise InputError(f"the kubeconfig {shown}: {error.fields[0][1]}") from error


def _default_kubeconfig(tell: Callable[[str], None]) -> str:
    """As kubectl finds it; but kubectl merges the files of $KUBECONFIG."""
    files = [file for file in os.environ.get("KUBECONFIG", "").split(os.pathsep) if file]
    if not files:
        return str(Path(_DEFAULT_KUBECONFIG).expanduser())
    there = [file for file in files if Path(file).exists()] or files
    if len(there) > 1:
        tell(f"KUBECONFIG names {len(there)} files; only the first is used: {there[0]}")
    return there[0]


def _standard_input() -> str:
    if sys.stdin is None:
        return ""
    data = sys.stdin.buffer.read(REQUEST_BYTES + 1)
    if len(data) > REQUEST_BYTES:
        raise InputError(f"standard input is over {REQUEST_BYTES // 1024} KiB, the most that can be sent")
    try:
        return data.decode()
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
