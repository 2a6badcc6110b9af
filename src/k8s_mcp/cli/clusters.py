"""`k8s-mcp clusters`: store kubeconfigs on a service under names, list them, forget them."""

import argparse
import json
import time
from datetime import UTC, datetime
from typing import Any, cast

from k8s_mcp.cli.table import print_table
from k8s_mcp.cli.tell import tell
from k8s_mcp.client.calls import call, entries, not_ours
from k8s_mcp.client.http import Http
from k8s_mcp.client.remote_run import ServiceError, connect
from k8s_mcp.client.request import STDIN, read_kubeconfig
from k8s_mcp.client.service import InputError, UsageError, add_service_options, handle_name, service_of

_FAILED, _USAGE = 1, 2
_NEEDED = ("name", "server", "contexts", "expires")
_LEAST_PAUSE, _LONGEST_PAUSE = 1.0, 3600.0


def clusters(options: argparse.Namespace) -> int:
    """Carry out `options.action`; the exit code."""
    try:
        service = service_of(options)
        http = connect(service)
        match options.action:
            case "add":
                _add(http, service.url, options)
            case "remove":
                call(http, service.url, "DELETE", f"/clusters/{handle_name(options.name)}")
            case _:
                _list(http, service.url, as_json=options.json)
    except UsageError as error:
        tell(str(error))
        return _USAGE
    except (InputError, ServiceError) as error:
        tell(str(error))
        return _FAILED
    return 0


def _add(http: Http, url: str, options: argparse.Namespace) -> None:
    name = handle_name(options.name)
    if options.renew and options.kubeconfig == STDIN:
        raise UsageError("--renew and --kubeconfig - exclude each other: standard input can be read once")
    ends, credential_ends = _store(http, url, name, options)
    if credential_ends and credential_ends < ends and not options.renew:
        tell(f"its credential ends at {credential_ends.isoformat()}; --renew stays, and stores a new one before")
    failure: Exception | None = None
    while options.renew:
        _wait(min(ends, credential_ends or ends), failure)
        try:
            ends, credential_ends = _store(http, url, name, options)
            failure = None
        except (InputError, ServiceError) as error:
            if str(error) != str(failure):
                tell(f"not renewed, trying again: {error}")
            failure = error


def _store(http: Http, url: str, name: str, options: argparse.Namespace) -> tuple[datetime, datetime | None]:
    """Until when it is stored, and until when its credential is good. Raises InputError, ServiceError."""
    sent = read_kubeconfig(options, tell)
    stored = call(http, url, "PUT", f"/clusters/{name}", {"kubeconfig": sent.text, "ttl": options.ttl})
    try:
        ends = datetime.fromisoformat(str(stored.get("expires")))
    except ValueError:
        not_ours(url)
    if ends.tzinfo is None:
        not_ours(url)
    tell(f"{name} is stored until {stored['expires']}")
    return ends, sent.expires


def _wait(until: datetime, failure: Exception | None) -> None:
    """Until a quarter of the time is left: plugins may print what they printed before, up to its end."""
    left = (until - datetime.now(UTC)).total_seconds()
    if failure is not None and left <= 0:
        raise failure
    time.sleep(min(max(left * 0.75, _LEAST_PAUSE), _LONGEST_PAUSE))


def _list(http: Http, url: str, *, as_json: bool) -> None:
    found = entries(url, call(http, url, "GET", "/clusters"), "clusters", _NEEDED)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_table(("NAME", "SERVER", "CONTEXTS", "EXPIRES"), *map(_row, found))


def _row(cluster: dict[str, Any]) -> tuple[str, ...]:
    contexts: Any = cluster["contexts"]
    names = ",".join(map(str, cast("list[Any]", contexts))) if isinstance(contexts, list) else str(contexts)
    return str(cluster["name"]), str(cluster["server"]), names, str(cluster["expires"] or "never")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `k8s-mcp clusters`."""
    parser.description = "Store kubeconfigs on a k8s-mcp service, so that requests and models only say a name."
    parser.epilog = "A stored kubeconfig is never given back, and is forgotten when its time is over."
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    add = actions.add_parser("add", help="store the current (or named) context of a kubeconfig under a name")
    add.add_argument("name", metavar="NAME", help="up to 63 of a-z, 0-9, '-', '_' and '.'")
    add.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="what to store; - is standard input [KUBECONFIG, its files merged, default ~/.kube/config]",
    )
    add.add_argument("--context", metavar="NAME", help="the kubeconfig's context to use, instead of its current one")
    add.add_argument("--all-contexts", action="store_true", help="store the other contexts as well")
    add.add_argument("--ttl", metavar="SECONDS", type=int, default=3600, help="how long it is kept [default: 3600]")
    add.add_argument(
        "--renew", action="store_true", help="stay, and store it again before it, or its credential, ends"
    )
    listing = actions.add_parser("list", help="list what is stored, and what an administrator offers")
    listing.add_argument("--json", action="store_true", help="as JSON")
    actions.add_parser("remove", help="forget one").add_argument("name", metavar="NAME")
    for action in actions.choices.values():
        action.allow_abbrev = False
        add_service_options(action)
    parser.set_defaults(run=clusters)
