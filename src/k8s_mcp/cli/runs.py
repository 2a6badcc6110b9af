"""`k8s-mcp runs`: runs on a service: list them, look at one, follow it, record it, cancel it."""

import argparse
import json
from typing import Any
from urllib.parse import quote

from k8s_mcp.cli.exec import attend
from k8s_mcp.cli.record import record
from k8s_mcp.cli.replay import TimedRun
from k8s_mcp.cli.standard_files import open_all, write
from k8s_mcp.cli.table import print_table
from k8s_mcp.cli.tell import printable, tell
from k8s_mcp.client.calls import call, entries
from k8s_mcp.client.remote_run import RemoteRun, ServiceError, connect
from k8s_mcp.client.service import Endpoint, InputError, UsageError, add_service_options, run_id, service_of

_FAILED, _USAGE = 1, 2
_PAGE = 1000
_State = dict[str, Any]
_NEEDED = ("run_id", "status", "exit_code", "created", "cluster")
_ALL = ("run_id", "status", "exit_code", "created", "principal", "cluster")


def runs(options: argparse.Namespace) -> int:
    """Carry out `options.action`; the exit code: following has that of `exec`."""
    if options.action is None:
        options = options.listing.parse_args([], argparse.Namespace(action="list"))
    try:
        service = service_of(options)
        if options.action in {"follow", "replay"}:
            return attend(_followed(service, options), cancels=False)
        _ask(service, options)
    except UsageError as error:
        tell(str(error))
        return _USAGE
    except (InputError, ServiceError) as error:
        tell(str(error))
        return _FAILED
    return 0


def _ask(service: Endpoint, options: argparse.Namespace) -> None:
    url = service.url
    http = connect(service)
    match options.action:
        case "cancel":
            call(http, url, "DELETE", f"/runs/{run_id(options.id)}")
            tell(f"{options.id} is being cancelled")
        case "record":
            open_all()
            state = call(http, url, "GET", f"/runs/{run_id(options.id)}")
            run = RemoteRun(service, run_id(options.id), tell, watches=True, timed=True)
            record(state, run.events(), write)
        case "show":
            _show(call(http, url, "GET", f"/runs/{run_id(options.id)}"), as_json=options.json)
        case _:
            _list(service, options)


def _show(state: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(state, indent=2))
        return
    for name, value in state.items():
        print(f"{printable(name) + ':':12} {_text(value)}")


def _followed(service: Endpoint, options: argparse.Namespace) -> RemoteRun:
    if options.action == "follow":
        return RemoteRun(service, run_id(options.id), tell)
    kind = TimedRun if options.timed else RemoteRun
    return kind(service, run_id(options.id), tell, watches=True, timed=options.timed)


def _past(service: Endpoint, options: argparse.Namespace) -> tuple[_State, list[_State]]:
    """The last answer, and the latest runs of the history, oldest first."""
    http = connect(service)
    found: list[_State] = []
    asked = "&all=true" if options.all else ""
    while True:
        limit = min(options.limit - len(found), _PAGE)
        answer = call(http, service.url, "GET", f"/runs?past=true&limit={limit}{asked}")
        found += entries(service.url, answer, "runs", _NEEDED)
        following = answer.get("next")
        if not following or len(found) >= options.limit:
            return answer, found[::-1]
        asked = f"{'&all=true' if options.all else ''}&before={quote(str(following))}"


def _list(service: Endpoint, options: argparse.Namespace) -> None:
    everybodys = options.all
    if options.past:
        answer, found = _past(service, options)
        for missed in entries(service.url, answer, "missed", ("from", "to")):
            tell(f"the history misses runs that ended between {_text(missed['from'])} and {_text(missed['to'])}")
    else:
        answer = call(connect(service), service.url, "GET", "/runs?all=true" if everybodys else "/runs")
        found = entries(service.url, answer, "runs", _NEEDED)
    if everybodys and not answer.get("all"):
        tell("these are your own: the service's policy makes you no observer of the runs of others")
    if options.json:
        print(json.dumps(found, indent=2))
        return
    names = _ALL if any("principal" in run for run in found) else _NEEDED
    rows = [tuple(_text(run.get(name)) for name in names) for run in found]
    titles = {"run_id": "RUN", "exit_code": "EXIT", "principal": "CALLER"}
    print_table([titles.get(name, name.upper()) for name in names], *rows)


def _number(text: str) -> int:
    """From 1 on; argparse says what is wrong."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _text(value: object) -> str:
    return "-" if value is None else printable(value if isinstance(value, str) else json.dumps(value))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `k8s-mcp runs`."""
    parser.description = (
        "Your runs on a k8s-mcp service, or those of all: in progress, and those that ended a moment ago."
    )
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="list them, oldest first; the same as no ACTION")
    show = actions.add_parser("show", help="all that is known of one")
    follow = actions.add_parser(
        "follow", help="its output from the beginning, and its exit code; Ctrl-C leaves it, and does not cancel it"
    )
    replay = actions.add_parser(
        "replay", help="the same, only looking on: the run neither goes on for that nor waits for it"
    )
    recording = actions.add_parser(
        "record",
        help="its output as a recording for asciinema (asciicast v2) on standard output; of a run in progress with "
        "the times at which it comes",
    )
    cancel = actions.add_parser("cancel", help="end its command")
    for action in (show, follow, replay, recording, cancel):
        action.add_argument("id", metavar="ID", help="the run's id, as `list` and `exec --detach` print it")
    listing.add_argument("--all", action="store_true", help="of all callers, if the policy makes you an observer")
    listing.add_argument("--past", action="store_true", help="those that the service's history has")
    listing.add_argument("--limit", metavar="N", type=_number, default=_PAGE, help="of those the latest N [1000]")
    replay.add_argument(
        "--timed", action="store_true", help="at the times at which it came then, if the service's history has them"
    )
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="as JSON")
    for action in (listing, show, follow, replay, recording, cancel):
        action.allow_abbrev = False
        add_service_options(action)
    parser.set_defaults(run=runs, listing=listing)
