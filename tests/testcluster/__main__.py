"""The command line of the test cluster; `python3 -m tests.testcluster --help` lists what it can do."""

import argparse
import sys
from pathlib import Path

from . import binaries, built, faults, lifecycle, state
from .commands import say
from .errors import ClusterError, NotPossibleError


def main() -> int:
    """Return 0 when done, 1 when it failed, 3 when this machine cannot have a cluster."""
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
    parser = argparse.ArgumentParser(prog="python3 -m tests.testcluster", description="A Kubernetes for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it, or find it running; the last line of stdout is for the shell")
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
            faults.start(arguments.component)
        case "stop":
            faults.stop(arguments.component)
        case _:
            faults.restart(arguments.component)
    return 0


def _status() -> int:
    cluster = state.read()
    if cluster is None:
        print("no cluster is running")
        return 1
    problem = cluster.problem()
    print(f"kind:                {cluster.kind}")
    print(f"kubeconfig:          {cluster.kubeconfig}")
    print(f"second kubeconfig:   {cluster.second_kubeconfig}")
    print(f"kubectl:             {cluster.kubectl}")
    print(f"API servers:         {problem or 'ready'}")
    if cluster.can_restart:
        print(f"network namespace:   {cluster.netns}")
        for one in built.all_components():
            print(f"{one.name:26} pid {one.pid or '-':<8} {one.problem() or 'ready':8} {one.log}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
