"""`k8s-mcp token`: a bearer token for somebody who may call the service."""

import argparse
import os
from pathlib import Path

from k8s_mcp.auth.tokens import line_of, make_token
from k8s_mcp.cli.tell import tell

_FAILED, _USAGE = 1, 2


def token(options: argparse.Namespace) -> int:
    """Print a new token; the exit code."""
    made = make_token()
    try:
        line = line_of(made, options.name, options.group)
        if options.file and Path(options.file).is_dir():
            tell(f"{options.file} is a directory of files with tokens; name one of those with --file")
            return _USAGE
        if options.file:
            _append(Path(options.file), line)
    except ValueError as error:
        tell(str(error))
        return _USAGE
    except OSError as error:
        tell(f"cannot write {options.file}: {error.strerror}")
        return _FAILED
    if options.file:
        tell(f"{options.file} has a new line for {options.name}; the token is not written anywhere but here:")
    else:
        tell("put this line into the file that K8S_MCP_AUTH_TOKENS (--auth-tokens) names:", line)
    print(made, flush=True)
    return 0


def _append(path: Path, line: str) -> None:
    """In one write, and never onto a line that somebody has left open."""
    with open(path, "ab+", buffering=0, opener=_private) as file:
        is_open = False
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            is_open = file.read(1) != b"\n"
        file.write(("\n" if is_open else "").encode() + f"{line}\n".encode())


def _private(path: str, flags: int) -> int:
    """Nobody else may read it."""
    return os.open(path, flags, 0o600)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `k8s-mcp token`."""
    parser.description = "Make a bearer token. It is printed once; the service keeps its SHA-256 only."
    parser.epilog = "To take a token back, remove its line: two seconds later it is refused."
    parser.add_argument("name", metavar="NAME", help="who calls with it; several tokens can have one name")
    parser.add_argument(
        "--group", metavar="GROUP", action="append", default=[], help="a group of this principal; can be repeated"
    )
    parser.add_argument(
        "--file",
        metavar="FILE",
        default=os.environ.get("K8S_MCP_AUTH_TOKENS", ""),
        help="append the line for the service to this file [K8S_MCP_AUTH_TOKENS; else it is printed on stderr]",
    )
    parser.set_defaults(run=token)
