"""What runner pods can reach, as cyclonus reads the NetworkPolicy; a network has to enforce it (see tests/e2e)."""

import json
import subprocess
from pathlib import Path
from string import Template

import pytest

from tests.support.go_tools import go_tools

_ROOT = Path(__file__).parents[2]
_RUNNERS = "k8s-mcp"
_POD: dict[str, object] = {"Namespace": _RUNNERS, "NamespaceLabels": {}, "PodLabels": {}}
_ELSEWHERE: dict[str, object] = {"Namespace": "default", "NamespaceLabels": {}, "PodLabels": {"app": "curious"}}

ALLOWED = [
    ("an API server on the Internet", "203.0.113.7", 443, "TCP"),
    ("an API server on a private network", "10.0.0.5", 6443, "TCP"),
    ("an API server by IPv6", "2001:db8::5", 6443, "TCP"),
    ("DNS", "10.96.0.10", 53, "UDP"),
    ("DNS by TCP", "10.96.0.10", 53, "TCP"),
]
REFUSED = [
    ("metadata of most clouds", "169.254.169.254", 443, "TCP"),
    ("metadata of most clouds, asked as a name server", "169.254.169.254", 53, "UDP"),
    ("metadata of AWS tasks", "169.254.170.2", 443, "TCP"),
    ("metadata of Alibaba Cloud", "100.100.100.200", 443, "TCP"),
    ("metadata of AWS by IPv6", "fd00:ec2::254", 443, "TCP"),
    ("link-local by IPv6", "fe80::1", 443, "TCP"),
    ("metadata by plain HTTP", "169.254.169.254", 80, "TCP"),
    ("another port of an API server's host", "10.0.0.5", 22, "TCP"),
    ("the kubelet", "10.0.0.5", 10250, "TCP"),
    ("etcd", "10.0.0.5", 2379, "TCP"),
    ("a web server", "203.0.113.7", 80, "TCP"),
    ("an API server's port by UDP", "203.0.113.7", 443, "UDP"),
]


def _peer(address: str, pod: dict[str, object] | None) -> dict[str, object]:
    return {"IP": address, "Internal": pod}


def _traffic(source: dict[str, object], target: dict[str, object], port: int, protocol: str) -> dict[str, object]:
    return {"Source": source, "Destination": target, "ResolvedPort": port, "Protocol": protocol}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy alone, in a file: as `make images` applies it with the default ports."""
    ports = json.dumps([{"protocol": "TCP", "port": port} for port in (443, 6443)])
    text = (_ROOT / "images/runner/namespace.yaml").read_text()
    parts = Template(text).substitute(NAMESPACE=_RUNNERS, API_SERVER_PORTS=ports).split("\n---\n")
    policies = [part for part in parts if "kind: NetworkPolicy" in part]
    assert len(policies) == 1
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(policies[0])
    return path


@pytest.fixture(scope="module")
def cyclonus() -> Path:
    return go_tools(_ROOT / "tests/tools/cyclonus") / "cyclonus"


def verdicts(cyclonus: Path, policy: Path, directory: Path, traffic: list[dict[str, object]]) -> list[bool]:
    """Whether the policy lets each pass."""
    asked = directory / "traffic.json"
    asked.write_text(json.dumps(traffic))
    command = [cyclonus, "analyze", "--mode=query-traffic", f"--policy-path={policy}", f"--traffic-path={asked}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answers = [line.split("|")[2].strip() for line in told.splitlines() if line.startswith("| IS ALLOWED?")]
    assert set(answers) <= {"TRUE", "FALSE"}
    assert len(answers) == len(traffic), told
    return [answer == "TRUE" for answer in answers]


def test_a_runner_pod_reaches_dns_and_api_servers_and_nothing_else(
    cyclonus: Path, policy: Path, tmp_path: Path
) -> None:
    cases = [*ALLOWED, *REFUSED]
    pod = _peer("10.244.0.9", _POD)
    asked = [_traffic(pod, _peer(address, None), port, protocol) for _, address, port, protocol in cases]
    passing = [
        case for case, allowed in zip(cases, verdicts(cyclonus, policy, tmp_path, asked), strict=True) if allowed
    ]
    assert passing == ALLOWED


def test_nothing_reaches_a_runner_pod(cyclonus: Path, policy: Path, tmp_path: Path) -> None:
    pod = _peer("10.244.0.9", _POD)
    sources = [_peer("10.244.0.8", _POD), _peer("10.244.1.3", _ELSEWHERE), _peer("203.0.113.7", None)]
    asked = [_traffic(source, pod, port, "TCP") for source in sources for port in (443, 6443, 9001)]
    assert not any(verdicts(cyclonus, policy, tmp_path, asked))


def test_other_namespaces_are_left_alone(cyclonus: Path, policy: Path, tmp_path: Path) -> None:
    other, metadata = _peer("10.244.1.3", _ELSEWHERE), _peer("169.254.169.254", None)
    assert verdicts(cyclonus, policy, tmp_path, [_traffic(other, metadata, 80, "TCP")]) == [True]
