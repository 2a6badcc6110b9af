"""python3 -m tests.testcluster up | down | status | load-image FILE | start | stop | restart COMPONENT"""

import argparse
import sys
from pathlib import Path

from . import binaries, built, components, faults, lifecycle, state
from .commands import say
from .errors import ClusterError, NotPossibleError


def main() -> int:
    """0 done, 1 failed, 2 wrong usage, 3 this machine cannot have a cluster."""
    arguments = _parser().parse_args()
    try:
        return _carry_out(arguments)
    except NotPossibleError as error:
        say(f"cluster not possible here: {error}")
        return 3
    except ClusterError as error:
        say(f"testcluster: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.testcluster", description="a Kubernetes cluster for tests"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "up", help="start it, or find it running; the last line of stdout is to be evaluated by a shell"
    )
    down = commands.add_parser("down", help="remove every trace of it")
    down.add_argument("--cache", action="store_true", help="and the programs that were built for it")
    commands.add_parser("status", help="say what is running")
    load = commands.add_parser("load-image", help="load an image into its node")
    load.add_argument("file", type=Path, help="a docker-archive or OCI tar")
    for name in ("start", "stop", "restart"):
        commands.add_parser(name, help=f"{name} one component").add_argument("component")
    return parser


def _carry_out(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            print(f"export KUBECONFIG={lifecycle.ensure().kubeconfig}")
        case "down":
            lifecycle.remove()
            if arguments.cache:
                binaries.forget()
        case "status":
            return _status()
        case "load-image":
            lifecycle.load_image(arguments.file)
        case "start":
            faults.start(state.built(), arguments.component)
        case "stop":
            faults.stop(state.built(), arguments.component)
        case _:
            faults.restart(state.built(), arguments.component)
    return 0


def _status() -> int:
    cluster = state.read()
    if cluster is None:
        print("no cluster is running")
        return 1
    print(
        f"kind: {cluster.kind}\nkubeconfig: {cluster.kubeconfig}\nsecond kubeconfig: {cluster.second_kubeconfig}"
    )
    print(f"kubectl: {cluster.kubectl}")
    problem = cluster.problem()
    print(f"API servers: {problem or 'ready'}")
    if cluster.can_restart:
        print(f"network namespace: {cluster.netns}")
        for one in components.all_of(built.layout_of(cluster)).values():
            print(f"{one.name:27} pid {one.pid or '-':<8} {one.problem() or 'ready'}; log {one.log}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
