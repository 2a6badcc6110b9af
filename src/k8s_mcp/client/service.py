"""Which service a client speaks to, and what it shows there: the options that `exec` and `clusters` share."""

import argparse
import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

RUN_ID = re.compile("[0-9A-Za-z-]{1,128}")
_HANDLE = re.compile("[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_TOKEN_BYTES = 64 * 1024  # more than a request's headers may have
_PATHS = ("/sse", "/mcp", "/runs", "/clusters")


class UsageError(Exception):
    """The options make no sense together."""


class InputError(Exception):
    """What is to be sent cannot be read, or is too large."""


@dataclass(frozen=True)
class Endpoint:
    """A service: `url` is a prefix of paths. `ca_file` has the authorities to trust instead of the system's."""

    url: str
    token: str = field(default="", repr=False)
    ca_file: str = ""


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """`--url` and what belongs to it. The token comes from the environment or a file: `ps` shows options."""
    add = parser.add_argument
    add(
        "--url",
        metavar="URL",
        default=os.environ.get("K8S_MCP_URL") or "http://127.0.0.1:9096",
        help="the service [K8S_MCP_URL, default http://127.0.0.1:9096]",
    )
    add(
        "--insecure-http",
        action="store_true",
        default=os.environ.get("K8S_MCP_INSECURE_HTTP", "").lower() in {"1", "true", "yes"},
        help="send kubeconfig and token over http:// to another machine, readable on the way [K8S_MCP_INSECURE_HTTP]",
    )
    add("--token-file", metavar="FILE", help="a file with your token for it [K8S_MCP_TOKEN_FILE]")
    add("--token", metavar="TOKEN", help="the token itself, which others can then see in ps [better: K8S_MCP_TOKEN]")
    add(
        "--ca-file",
        metavar="FILE",
        default=os.environ.get("K8S_MCP_CA_FILE") or "",
        help="certificates of the authorities to trust for https, in PEM [K8S_MCP_CA_FILE, default the system's]",
    )


def service_of(options: argparse.Namespace) -> Endpoint:
    """The service that the options name. Raises UsageError, InputError; neither quotes a secret."""
    url = service_url(options.url)
    if url.startswith("http:") and not options.insecure_http and not is_loopback(urlsplit(url).hostname or ""):
        raise UsageError(
            "--url is http:// to another machine: kubeconfig and token could be read on the way; "
            "use https://, or say --insecure-http"
        )
    return Endpoint(url, _token(options), options.ca_file)


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def handle_name(text: str) -> str:
    """`text`, if it can be the name of a stored kubeconfig. Raises UsageError."""
    if not _HANDLE.fullmatch(text):
        raise UsageError(f"{text!r} is no name: one has up to 63 of a-z, 0-9, - _ and ., first and last a-z or 0-9")
    return text


def run_id(text: str) -> str:
    """`text`, if it can be a run's id. Raises UsageError."""
    if not RUN_ID.fullmatch(text):
        raise UsageError(f"{text!r} is no run's id; `k8s-mcp runs` lists yours")
    return text


def service_url(text: str) -> str:
    """`--url` as a prefix of paths. Raises UsageError, without quoting what may be a password."""
    try:
        url = urlsplit(text)
        valid = url.scheme in {"http", "https"} and url.hostname and url.port != 0 and "\\" not in text
    except ValueError:
        valid = False
        url = urlsplit("")
    if not valid or url.username is not None or url.query or url.fragment or not text.isprintable():
        raise UsageError("--url (or K8S_MCP_URL) must be http://HOST[:PORT][/PATH] or https://…, without a user name")
    if url.path.rstrip("/").endswith(_PATHS):
        raise UsageError("--url (or K8S_MCP_URL) is the service itself: leave out /sse, /mcp, /runs or /clusters")
    return url.scheme + text[len(url.scheme) :].rstrip("/")  # urlsplit has made the scheme's letters small


def _token(options: argparse.Namespace) -> str:
    """The option before the environment, and there the token before the file."""
    if options.token is not None and options.token_file is not None:
        raise UsageError("--token and --token-file exclude each other")
    file = options.token_file
    token = options.token
    if file is None and token is None:
        token = os.environ.get("K8S_MCP_TOKEN")
        file = None if token else os.environ.get("K8S_MCP_TOKEN_FILE")
    if file:
        try:
            with Path(file).open("rb") as opened:
                token = opened.read(_TOKEN_BYTES).decode("ascii")
        except OSError as error:
            raise InputError(f"the token file {file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise InputError(f"the token file {file} holds no token") from None
    token = (token or "").strip()
    if not token.isascii() or any(not character.isprintable() or character == " " for character in token):
        raise InputError("the token is not one: a token has no spaces and no characters beyond ASCII")
    return token
