"""The command line of `images/build`."""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.testcluster import ClusterError
from tests.testcluster import NotPossibleError as NoCluster

from . import cluster, tools
from .cache import Cache
from .commands import say
from .errors import BuildError, NotPossibleError
from .image import Image
from .prebuilt import GATE, TOOLS, WHEELS

_REPOSITORY = Path(__file__).resolve().parent.parent.parent
_SERVER = Path("images/server/Dockerfile")
SERVER_SOURCES = (
    "LICENSE",
    "images/server/healthcheck",
    "images/server/k8s-mcp",
    "requirements/runtime.lock",
    "src/k8s_mcp/**/*.py",
    "src/k8s_mcp/web/page/*",
)
_IMAGES = {
    image.name: image
    for image in (
        Image(
            _REPOSITORY,
            "runner",
            Path("images/runner/Dockerfile"),
            ("images/runner/bash-env", "src/k8s_mcp/__init__.py", "src/k8s_mcp/runner/*.py"),
            (TOOLS, GATE),
        ),
        Image(_REPOSITORY, "server", _SERVER, SERVER_SOURCES, (WHEELS,)),
        Image(_REPOSITORY, "server-local", _SERVER, SERVER_SOURCES, (WHEELS, TOOLS), "local"),
    )
}
_FOR_CLUSTERS = ("runner", "server")

_ENVIRONMENT = """\
environment:
  K8S_MCP_NAMESPACE         the runner namespace to prepare (k8s-mcp)
  K8S_MCP_API_SERVER_PORTS  ports that commands may connect to, separated by commas (443,6443)
  K8S_MCP_CACHE             where built things are kept (~/.cache/k8s-mcp-server)
"""


def main() -> int:
    """0 done, 1 failed, 2 wrong usage, 3 this machine cannot build images, or cannot have a cluster."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _end)
    os.umask(0o022)  # an image's files are for every user
    try:
        _carry_out(_parser().parse_args())
    except (NotPossibleError, NoCluster) as error:
        say(f"not possible here: {error}")
        return 3
    except (BuildError, ClusterError) as error:
        say(f"images/build: {error}")
        return 1
    return 0


def _end(signum: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signum)  # so that `with` blocks end, too


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="images/build",
        description="Build images, load them into the test cluster, prepare the runner namespace.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--print-tools", action="store_true", help="only compile kubectl, helm and yq; print where")
    only.add_argument("--print-tar", action="store_true", help="only build; print each docker-archive")
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        type=_image,
        default=[_image(name) for name in _FOR_CLUSTERS],
        help=f"{', '.join(_IMAGES)}; by default {' and '.join(_FOR_CLUSTERS)}",
    )
    parser.add_argument("--fresh", action="store_true", help="build with today's base and packages")
    return parser


def _image(name: str) -> Image:
    if name not in _IMAGES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_IMAGES)}")
    return _IMAGES[name]


def _carry_out(arguments: argparse.Namespace) -> None:
    if sys.platform != "linux":
        raise NotPossibleError("this needs Linux; docs/runner-image.md says how to build with Docker alone")
    cache = Cache.from_environment()
    if arguments.print_tools:
        print(tools.ensure(cache, _REPOSITORY))
        return
    images: list[Image] = arguments.images
    archives = [image.archive(cache, fresh=arguments.fresh) for image in images]
    if arguments.print_tar:
        print(*archives, sep="\n")
        return
    kubectl = cluster.running(tools.ensure(cache, _REPOSITORY) / "kubectl")
    for image, archive in zip(images, archives, strict=True):
        cluster.load(kubectl, image, archive)
    cluster.prepare(kubectl, _REPOSITORY, _namespace(), _api_server_ports())


def _namespace() -> str:
    return os.environ.get("K8S_MCP_NAMESPACE") or "k8s-mcp"


def _api_server_ports() -> list[int]:
    value = os.environ.get("K8S_MCP_API_SERVER_PORTS") or "443,6443"
    try:
        ports = [int(port) for port in value.split(",")]
    except ValueError:
        ports = []
    if not ports or not all(0 < port < 65536 for port in ports):
        raise BuildError(f"K8S_MCP_API_SERVER_PORTS is {value!r}; it must be ports, such as 443,6443")
    return ports
