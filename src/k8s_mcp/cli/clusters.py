"""`k8s-mcp clusters`: store kubeconfigs on a service under names, list them, forget them."""

import argparse
import json
from typing import Any

import httpx2

from k8s_mcp.cli.tell import tell
from k8s_mcp.client.remote_run import ServiceError, connect, refusal, unreachable
from k8s_mcp.client.request import read_kubeconfig
from k8s_mcp.client.service import InputError, UsageError, add_service_options, service_of

_FAILED, _USAGE = 1, 2
_COLUMNS = ("NAME", "SERVER", "CONTEXTS", "EXPIRES")


def clusters(options: argparse.Namespace) -> int:
    """Carry out `options.action`; the exit code."""
    try:
        service = service_of(options)
        url = service.url
        with connect(service) as http:
            match options.action:
                case "add":
                    body = {"kubeconfig": read_kubeconfig(options, tell), "ttl": options.ttl}
                    stored = _call(http, url, "PUT", f"/clusters/{options.name}", body)
                    tell(f"{stored['name']} is stored until {stored['expires']}")
                case "remove":
                    _call(http, url, "DELETE", f"/clusters/{options.name}")
                case _:
                    _print_table(_call(http, url, "GET", "/clusters")["clusters"], as_json=options.json)
    except UsageError as error:
        tell(str(error))
        return _USAGE
    except (InputError, ServiceError) as error:
        tell(str(error))
        return _FAILED
    return 0


def _call(http: httpx2.Client, url: str, method: str, path: str, body: object = None) -> Any:
    try:
        with http.stream(method, f"{url}{path}", json=body) as response:
            if not response.is_success:
                raise refusal(url, response)
            content = response.read()
    except httpx2.RequestError as error:
        raise unreachable(url, error) from error
    return json.loads(content) if content else None


def _print_table(clusters: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(clusters, indent=2))
        return
    rows = [
        (cluster["name"], cluster["server"], ",".join(cluster["contexts"]), cluster["expires"] or "never")
        for cluster in clusters
    ]
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS))]
    for row in (_COLUMNS, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


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
        help="what to store; - is standard input [KUBECONFIG (its first file), default ~/.kube/config]",
    )
    add.add_argument("--context", metavar="NAME", help="the kubeconfig's context to use, instead of its current one")
    add.add_argument("--all-contexts", action="store_true", help="store the other contexts as well")
    add.add_argument("--ttl", metavar="SECONDS", type=int, default=3600, help="how long it is kept [default: 3600]")
    listing = actions.add_parser("list", help="list what is stored, and what an administrator offers")
    listing.add_argument("--json", action="store_true", help="as JSON")
    actions.add_parser("remove", help="forget one").add_argument("name", metavar="NAME")
    for action in actions.choices.values():
        add_service_options(action)
    parser.set_defaults(run=clusters)
