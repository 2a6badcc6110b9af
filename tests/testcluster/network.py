"""The one link between the node and this machine."""

from pathlib import Path

from .commands import run
from .errors import ClusterError
from .layout import HOST_LINK, Addresses
from .namespaces import inside, network

_SETTINGS = {
    "/proc/sys/net/ipv4/ip_forward": "1",
    # Else traffic between two pods never meets a Service's rules.
    "/proc/sys/net/bridge/bridge-nf-call-iptables": "1",
}


def up(addresses: Addresses) -> None:
    """Connect it. There is no default route, so that what looks for the internet fails at once and not slowly."""
    if not Path("/proc/sys/net/bridge").exists():
        run("modprobe", "br_netfilter")
    run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", network())
    run("ip", "addr", "add", f"{addresses.host}/24", "dev", HOST_LINK)
    run("ip", "link", "set", HOST_LINK, "up")
    for argv in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "addr", "add", f"{addresses.node}/24", "dev", "eth0"],
        ["ip", "addr", "add", f"{addresses.second}/24", "dev", "eth0"],
        ["ip", "link", "set", "eth0", "up"],
        # Service addresses are rewritten on the way out, but only where there is a way.
        ["ip", "route", "add", addresses.services, "dev", "eth0"],
    ):
        run(*inside(*argv))
    for file, value in _SETTINGS.items():
        run(*inside("sh", "-c", f"echo {value} >{file}"))
    run("ip", "route", "add", addresses.pods, "via", addresses.node)


def down() -> None:
    """Cut it. The other end, routes, bridges and packet filter rules go with the namespace."""
    if Path("/sys/class/net", HOST_LINK).exists():
        run("ip", "link", "delete", HOST_LINK)


def check_free(addresses: Addresses) -> None:
    """ClusterError when this machine already reaches something else at the cluster's addresses."""
    routes = run("ip", "-4", "route").splitlines()
    taken = [route.strip() for route in routes if route.startswith(f"{addresses.prefix}.")]
    if taken:
        raise ClusterError(
            f"this machine already has a route into {addresses.prefix}.0.0/16 ({taken[0]}); "
            "choose another network with K8S_MCP_TEST_NETWORK, for example 10.252"
        )
