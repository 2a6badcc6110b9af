"""The chart says the same as everything that it has to agree with."""

import json
import string
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from k8s_mcp import __version__
from k8s_mcp.cluster.access import FOR_HANDLES, NEEDED, Permission
from k8s_mcp.settings import Settings
from tests.chart.rendering import Helm, Json, Manifests
from tests.support import chart

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> Manifests:
    return helm.render({})


@pytest.fixture(scope="module")
def namespace_manifests() -> list[Json]:
    """What `make images` prepares."""
    template = string.Template((_ROOT / "images/runner/namespace.yaml").read_text())
    ports = json.dumps([{"protocol": "TCP", "port": port} for port in (443, 6443)])
    return list(yaml.safe_load_all(template.substitute(NAMESPACE="k8s-mcp", API_SERVER_PORTS=ports)))


def _of(manifests: list[Json], kind: str, name: str) -> Any:
    [found] = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_versions_are_the_packages(helm: Helm) -> None:
    described = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert (described["version"], described["appVersion"]) == (__version__, __version__)


def test_values_are_documented() -> None:
    """Every value has a comment above it; what has none is described by the one above its parent."""
    documented = {value.path for value in chart.values()}
    values = yaml.safe_load(chart.VALUES.read_text())
    assert {path for path in _leaves(values) if not any(path.startswith(known) for known in documented)} == set()


def _leaves(values: Json, path: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        here = f"{path}.{key}".strip(".")
        found += (isinstance(value, dict) and _leaves(cast("Json", value), here)) or [here]
    return found


def test_readme_has_the_values_as_they_are() -> None:
    assert chart.README.read_text() == chart.readme(), "write it: .venv/bin/python -m tests.support.configuration"


def test_schema_has_the_settings_as_they_are() -> None:
    assert chart.SCHEMA.read_text() == chart.schema(), "write it: .venv/bin/python -m tests.support.configuration"


@pytest.mark.parametrize("name", ["k8s-mcp-server", "k8s-mcp-server-clusters"])
def test_roles_are_those_of_the_runner_namespace(
    rendered: Manifests, namespace_manifests: list[Json], name: str
) -> None:
    assert _rules(rendered.one("Role", name)) == _rules(_of(namespace_manifests, "Role", name))


def test_roles_are_exactly_what_the_service_needs(rendered: Manifests) -> None:
    assert _rules(rendered.one("Role", "k8s-mcp-server")) == {_rule(permission) for permission in NEEDED}
    assert _rules(rendered.one("Role", "k8s-mcp-server-clusters")) == {_rule(FOR_HANDLES)}


def _rules(role: Json) -> set[tuple[str, str, frozenset[str]]]:
    return {
        (group, resource, frozenset(rule["verbs"]))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _rule(permission: Permission) -> tuple[str, str, frozenset[str]]:
    return permission.group, permission.resource, frozenset(permission.verbs)


def test_the_network_policy_is_that_of_the_runner_namespace(
    rendered: Manifests, namespace_manifests: list[Json]
) -> None:
    ours = rendered.one("NetworkPolicy", "runner")
    assert ours["spec"] == _of(namespace_manifests, "NetworkPolicy", "runner")["spec"]


def test_the_runner_namespace_is_as_restricted(rendered: Manifests, namespace_manifests: list[Json]) -> None:
    def levels(namespace: Json) -> Json:
        return {key: value for key, value in namespace["metadata"]["labels"].items() if "pod-security" in key}

    [theirs] = [each for each in namespace_manifests if each["kind"] == "Namespace"]
    assert levels(rendered.one("Namespace")) == levels(theirs) != {}


def test_pods_live_long_enough_to_hand_over_their_runs(helm: Helm, rendered: Manifests) -> None:
    """preStop, then the service's own grace, then what it takes to let go."""
    default = Settings.model_fields["shutdown_grace"].default
    assert rendered.pod["terminationGracePeriodSeconds"] == 5 + default + 30
    longer = helm.render({"settings": {"shutdownGrace": 600}})
    assert longer.pod["terminationGracePeriodSeconds"] == 635
    assert helm.render({"settings": {"shutdownGrace": 0}}).pod["terminationGracePeriodSeconds"] == 35


def test_nothing_of_the_chart_is_taken_for_the_services_own(rendered: Manifests) -> None:
    """`k8s-mcp clean` removes what has its label."""
    labels = [each["metadata"].get("labels", {}) for each in rendered.objects]
    assert "k8s-mcp-server" not in {each.get("app.kubernetes.io/managed-by") for each in labels}


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    done = helm("lint", "--strict", str(chart.CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
