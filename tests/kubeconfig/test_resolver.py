"""Names of API servers are looked up before a run, and a name does not hide an address that is refused."""

import asyncio
import socket
import threading
from collections.abc import Iterable

import pytest

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.kubeconfig import Kubeconfig
from k8s_mcp.kubeconfig.resolver import Resolver
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.rules import everything

NAMES: dict[str, list[str]] = {
    "metadata.example.com": ["169.254.169.254"],
    "half.example.com": ["192.0.2.1", "169.254.169.254"],
    "alibaba.example.com": ["100.100.100.200"],
    "aws6.example.com": ["fd00:ec2::254"],
    "link6.example.com": ["fe80::1%eth0"],
    "mapped.example.com": ["::ffff:169.254.169.254"],
    "nothing.example.com": ["0.0.0.0"],
    "loop.example.com": ["127.0.0.1"],
    "loop6.example.com": ["::1"],
    "private.example.com": ["10.0.0.1", "fd12::1"],
    "unknown.example.com": [],
}
ALWAYS = [name for name in NAMES if not name.startswith(("loop", "private", "unknown"))]


def admission(*, loopback: bool) -> Admission:
    async def addresses(host: str) -> Iterable[str]:
        return NAMES.get(host, ["192.0.2.7"])

    policy = everything((), insecure_tls=False, proxy_url=True)
    return Admission(lambda: policy, addresses, loopback=loopback, can_be_read_only=True)


def kubeconfig(server: str, proxy: str = "") -> Kubeconfig:
    text = f"""
        {{current-context: a, contexts: [{{name: a, context: {{cluster: a}}}}],
         clusters: [{{name: z, cluster: {{server: "https://192.0.2.8"}}}},
                    {{name: a, cluster: {{server: "{server}", proxy-url: "{proxy}"}}}}]}}"""
    return admission(loopback=True).reread(text)


@pytest.mark.parametrize("name", [*ALWAYS, "loop.example.com", "loop6.example.com"])
async def test_name_of_a_refused_address_is_refused(name: str) -> None:
    with pytest.raises(KubeconfigError, match=f"'{name}' resolves to an address that is refused") as refusal:
        await admission(loopback=False).check_addresses(kubeconfig(f"https://{name}:6443"))
    assert "send an address at which other machines reach the cluster" in refusal.value.message


@pytest.mark.parametrize("name", ALWAYS)
async def test_the_same_of_a_proxy(name: str) -> None:
    with pytest.raises(KubeconfigError, match=name):
        await admission(loopback=False).check_addresses(kubeconfig("https://192.0.2.1", f"http://{name}"))


@pytest.mark.parametrize("name", ALWAYS)
async def test_on_this_host_loopback_alone_is_accepted(name: str) -> None:
    await admission(loopback=True).check_addresses(kubeconfig("https://loop.example.com"))
    with pytest.raises(KubeconfigError):
        await admission(loopback=True).check_addresses(kubeconfig(f"https://{name}"))


@pytest.mark.parametrize("name", ["private.example.com", "unknown.example.com", "192.0.2.1"])
async def test_private_addresses_and_names_unknown_here_are_accepted(name: str) -> None:
    """A pod can know names that this host does not; there the network policy holds."""
    await admission(loopback=False).check_addresses(kubeconfig(f"https://{name}"))


async def test_names_are_resolved_as_the_system_does() -> None:
    assert set(await Resolver().addresses("localhost")) & {"127.0.0.1", "::1"}
    assert await Resolver().addresses("192.0.2.1") == ["192.0.2.1"]


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 64 + ".example.com", "-", "a..b"])
async def test_a_name_that_is_none_has_no_addresses(name: str) -> None:
    assert await Resolver().addresses(name) == []


async def test_a_slow_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And however many names are slow, there are few threads."""
    answer = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        answer.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("k8s_mcp.kubeconfig.resolver._SECONDS", 0.2)
    resolver = Resolver()
    try:
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(resolver.addresses(f"slow{n}.example.com") for n in range(100)))
        assert found == [[]] * 100
        assert sum(thread.name == "resolver" for thread in threading.enumerate()) <= 16
    finally:
        answer.set()
