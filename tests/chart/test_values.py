"""Every value that values.yaml documents changes what it says, and nonsense is refused with the key's name."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from k8s_mcp import __version__
from k8s_mcp.settings import PREFIX, Settings
from tests.chart.rendering import NAMESPACE, Helm, Json, Manifests, merged, nested
from tests.support import chart

Seen = Callable[[Manifests], object]

_NAME = "it-k8s-mcp-server"
_DIGEST = f"sha256:{'0' * 64}"
_PEER = {"podSelector": {"matchLabels": {"may": "call"}}}
_TLS = [{"hosts": ["a.example"], "secretName": "s"}]
_READ_TIMEOUT = "nginx.ingress.kubernetes.io/proxy-read-timeout"
_SEND_TIMEOUT = "nginx.ingress.kubernetes.io/proxy-send-timeout"


def _hook(manifests: Manifests) -> Json:
    return manifests.one("Job")["spec"]["template"]["spec"]


def _server_containers(manifests: Manifests) -> list[Json]:
    """All that run the service's image."""
    pods = [manifests.pod, _hook(manifests), *(pod["spec"] for pod in manifests.all("Pod"))]
    return [pod["containers"][0] for pod in pods]


def _of_servers(key: str) -> Seen:
    return lambda manifests: {container[key] for container in _server_containers(manifests)}


def _of_pods(key: str) -> Seen:
    return lambda manifests: manifests.pod[key]


def _names(kind: str) -> Seen:
    return lambda manifests: {each["metadata"]["name"] for each in manifests.all(kind)}


def _in(kind: str, *path: str | int) -> Seen:
    def seen(manifests: Manifests) -> object:
        value: Any = manifests.one(kind)
        for key in path:
            value = value[key]
        return value

    return seen


def _template(*path: str) -> Seen:
    return _in("Deployment", "spec", "template", *path)


def _setting(name: str) -> Seen:
    return lambda manifests: manifests.environment.get(f"K8S_MCP_{name}")


def _pull_secrets(manifests: Manifests) -> object:
    return manifests.pod["imagePullSecrets"] + _hook(manifests)["imagePullSecrets"]


def _kinds(*kinds: str) -> Seen:
    return lambda manifests: {each["kind"] for each in manifests.objects if each["kind"] in kinds}


def _tokens(manifests: Manifests) -> object:
    """Which Secret it is, and whether it is mounted where the service looks."""
    [volume] = [each for each in manifests.pod["volumes"] if each["name"] == "tokens"]
    [mount] = [each for each in manifests.server["volumeMounts"] if each["name"] == "tokens"]
    return volume["secret"]["secretName"], mount["mountPath"] == manifests.environment["K8S_MCP_AUTH_TOKENS"]


def _authorities(manifests: Manifests) -> object:
    """Which ConfigMap it is, and the file that is trusted in the place of the system's."""
    [volume] = [each for each in manifests.pod["volumes"] if each["name"] == "oidc"]
    [mount] = [each for each in manifests.server["volumeMounts"] if each["name"] == "oidc"]
    trusted = manifests.environment["SSL_CERT_FILE"]
    assert trusted.startswith(mount["mountPath"])
    return volume["configMap"]["name"], trusted


def _offered(manifests: Manifests) -> object:
    secret = manifests.one("Secret", "offered-prod")
    notes = secret["metadata"]["annotations"]
    return notes["k8s-mcp-server/cluster"], notes["k8s-mcp-server/offered-to"], secret["stringData"]["kubeconfig"]


def _runner_namespaces(manifests: Manifests) -> object:
    """Where the service starts pods, and where the chart makes something."""
    made = {each["metadata"]["namespace"] for each in manifests.objects if "namespace" in each["metadata"]}
    return made | {manifests.one("Namespace")["metadata"]["name"], manifests.environment["K8S_MCP_NAMESPACE"]}


def _api_ports(manifests: Manifests) -> object:
    return [port["port"] for port in manifests.one("NetworkPolicy", "runner")["spec"]["egress"][1]["ports"]]


def _may_list_secrets(manifests: Manifests) -> object:
    return any(
        "list" in rule["verbs"]
        for role in manifests.all("Role")
        for rule in role["rules"]
        if "secrets" in rule["resources"]
    )


def _allowed_peers(manifests: Manifests) -> object:
    return manifests.one("NetworkPolicy", _NAME)["spec"]["ingress"][0]["from"]


def _tls(manifests: Manifests) -> object:
    """The Secret, and by what scheme probes, clients of the Service, and the test speak to it."""
    [volume] = [each for each in manifests.pod["volumes"] if each["name"] == "tls"]
    probes = {manifests.server[f"{kind}Probe"]["httpGet"]["scheme"] for kind in ("startup", "liveness", "readiness")}
    [container] = manifests.one("Pod", f"{_NAME}-run")["spec"]["containers"]
    [url] = [each["value"] for each in container["env"] if each["name"] == "K8S_MCP_URL"]
    return volume["secret"]["secretName"], probes, manifests.one("Service")["spec"]["ports"][0]["appProtocol"], url


def _certificate(manifests: Manifests) -> object:
    """Its issuer, the Secret that it is for, and the one that the service mounts."""
    spec = manifests.one("Certificate")["spec"]
    [volume] = [each for each in manifests.pod["volumes"] if each["name"] == "tls"]
    return spec["issuerRef"]["name"], spec["secretName"], volume["secret"]["secretName"]


def _alerts(manifests: Manifests) -> object:
    written = yaml.safe_load((chart.CHART / "files" / "alerts.yaml").read_text())
    return manifests.one("PrometheusRule")["spec"] == written


def _dashboard(manifests: Manifests) -> object:
    written = json.loads((chart.CHART / "files" / "dashboard.json").read_text())
    return json.loads(manifests.one("ConfigMap")["data"]["k8s-mcp-server.json"]) == written


def _history(manifests: Manifests) -> object:
    """From which Secret, and key, all that run the service's image have the URL."""
    variables = [each for container in _server_containers(manifests) for each in container.get("env", [])]
    return {
        tuple(each["valueFrom"]["secretKeyRef"].values())
        for each in variables
        if each["name"] == "K8S_MCP_HISTORY_URL"
    }


def _policy(manifests: Manifests) -> object:
    """What is in the file, and whether it is where the service looks."""
    file = manifests.environment["K8S_MCP_POLICY"]
    [mount] = [each for each in manifests.server["volumeMounts"] if each["name"] == "policy"]
    return yaml.safe_load(manifests.one("ConfigMap")["data"]["policy.yaml"]), file.startswith(mount["mountPath"])


def _spreading(manifests: Manifests) -> object:
    return {key: manifests.pod[key] for key in ("affinity", "topologySpreadConstraints") if key in manifests.pod}


def _extra(manifests: Manifests) -> object:
    return manifests.all("X")


def _ingress_hosts(manifests: Manifests) -> object:
    """Those that the Ingress serves and the service allows."""
    served = {rule["host"] for rule in manifests.one("Ingress")["spec"]["rules"]}
    return served & set(manifests.environment["K8S_MCP_ALLOWED_HOSTS"].split(","))


def _ingress_timeouts(manifests: Manifests) -> object:
    notes = manifests.one("Ingress")["metadata"]["annotations"]
    return notes[_READ_TIMEOUT], notes[_SEND_TIMEOUT]


_Row = tuple[str, object, Seen, object]
_TABLE: list[_Row] = [
    ("replicas", 3, _in("Deployment", "spec", "replicas"), 3),
    ("image.repository", "here/server", _of_servers("image"), {f"here/server:{__version__}"}),
    ("image.tag", "9", _of_servers("image"), {"k8s-mcp-server/server:9"}),
    ("image.digest", _DIGEST, _of_servers("image"), {f"k8s-mcp-server/server@{_DIGEST}"}),
    ("image.pullPolicy", "Never", _of_servers("imagePullPolicy"), {"Never"}),
    ("imagePullSecrets", ["pull"], _pull_secrets, [{"name": "pull"}] * 2),
    ("auth.serviceAccounts.enabled", False, _kinds("ClusterRole", "ClusterRoleBinding"), set[str]()),
    ("auth.serviceAccounts.audience", "x", _setting("SERVICE_ACCOUNT_AUDIENCE"), "x"),
    ("auth.tokensSecret", "t", _tokens, ("t", True)),
    ("auth.oidcCA.configMap", "c", _authorities, ("c", "/etc/k8s-mcp/oidc/ca.crt")),
    ("auth.oidcCA.key", "root.pem", _authorities, ("c", "/etc/k8s-mcp/oidc/root.pem")),
    ("auth.insecureNoAuth", True, _setting("INSECURE_NO_AUTH"), "true"),
    ("policy", {"rules": []}, _policy, ({"rules": []}, True)),
    ("settings", {"maxTimeout": 60}, _setting("MAX_TIMEOUT"), "60"),
    ("history.urlSecret", "h", _history, {("h", "url")}),
    ("history.urlKey", "k", _history, {("h", "k")}),
    ("clusters", {"prod": {"kubeconfig": "k", "offeredTo": ["a", "b"]}}, _offered, ("prod", "a,b", "k")),
    ("runner.namespace", "pods", _runner_namespaces, {"pods"}),
    ("runner.createNamespace", False, _names("Namespace"), set[str]()),
    ("runner.image.repository", "here/runner", _setting("RUNNER_IMAGE"), f"here/runner:{__version__}"),
    ("runner.image.tag", "9", _setting("RUNNER_IMAGE"), "k8s-mcp-server/runner:9"),
    ("runner.image.digest", _DIGEST, _setting("RUNNER_IMAGE"), f"k8s-mcp-server/runner@{_DIGEST}"),
    ("runner.image.pullPolicy", "Never", _setting("RUNNER_IMAGE_PULL_POLICY"), "Never"),
    ("runner.imagePullSecrets", ["a", "b"], _setting("RUNNER_IMAGE_PULL_SECRETS"), "a,b"),
    ("runner.apiServerPorts", [6443, 16443], _api_ports, [6443, 16443]),
    ("runner.storedClusters", False, _may_list_secrets, False),
    ("runner.quota", {"pods": "7"}, _in("ResourceQuota", "spec", "hard"), {"pods": "7"}),
    ("runner.limits", {"max": {"cpu": "2"}}, _in("LimitRange", "spec", "limits", 0, "max"), {"cpu": "2"}),
    ("service.type", "NodePort", _in("Service", "spec", "type"), "NodePort"),
    ("service.port", 80, _in("Service", "spec", "ports", 0, "port"), 80),
    ("service.annotations", {"a": "b"}, _in("Service", "metadata", "annotations"), {"a": "b"}),
    ("ingress.enabled", False, _names("Ingress"), set[str]()),
    ("ingress.className", "nginx", _in("Ingress", "spec", "ingressClassName"), "nginx"),
    ("ingress.hosts", ["b.example"], _ingress_hosts, {"b.example"}),
    ("ingress.tls", _TLS, _in("Ingress", "spec", "tls"), _TLS),
    ("ingress.annotations", {_READ_TIMEOUT: "9"}, _ingress_timeouts, ("9", "3600")),
    ("tls.secretName", "t", _tls, ("t", {"HTTPS"}, "https", "https://it-k8s-mcp-server:9096")),
    ("tls.issuerRef", {"name": "i"}, _certificate, ("i", f"{_NAME}-tls", f"{_NAME}-tls")),
    ("metrics.serviceMonitor.enabled", True, _names("ServiceMonitor"), {_NAME}),
    ("metrics.serviceMonitor.labels", {"a": "b"}, _in("ServiceMonitor", "metadata", "labels", "a"), "b"),
    (
        "metrics.serviceMonitor.authorization",
        {"credentials": {"name": "s", "key": "k"}},
        _in("ServiceMonitor", "spec", "endpoints", 0, "authorization", "credentials"),
        {"name": "s", "key": "k"},
    ),
    ("metrics.prometheusRule.enabled", True, _alerts, True),
    ("metrics.prometheusRule.labels", {"a": "b"}, _in("PrometheusRule", "metadata", "labels", "a"), "b"),
    ("metrics.dashboard.enabled", True, _dashboard, True),
    ("metrics.dashboard.labels", {"a": "b"}, _in("ConfigMap", "metadata", "labels", "a"), "b"),
    ("traces", {"OTEL_TRACES_SAMPLER_ARG": 0.1}, lambda m: m.environment.get("OTEL_TRACES_SAMPLER_ARG"), "0.1"),
    ("allowFrom", [_PEER], _allowed_peers, [_PEER]),
    ("podDisruptionBudget.enabled", False, _names("PodDisruptionBudget"), set[str]()),
    ("podDisruptionBudget.maxUnavailable", "50%", _in("PodDisruptionBudget", "spec", "maxUnavailable"), "50%"),
    ("resources", {"limits": {"memory": "1Gi"}}, lambda m: m.server["resources"]["limits"], {"memory": "1Gi"}),
    ("podLabels", {"a": "b"}, _template("metadata", "labels", "a"), "b"),
    ("podAnnotations", {"a": "b"}, _template("metadata", "annotations", "a"), "b"),
    ("nodeSelector", {"a": "b"}, _of_pods("nodeSelector"), {"a": "b"}),
    ("tolerations", [{"key": "a"}], _of_pods("tolerations"), [{"key": "a"}]),
    ("affinity", {"podAffinity": {}}, _spreading, {"affinity": {"podAffinity": {}}}),
    ("priorityClassName", "high", _of_pods("priorityClassName"), "high"),
    (
        "extraObjects",
        [{"kind": "X", "metadata": {}, "of": "{{ .Release.Name }}"}],
        _extra,
        [{"kind": "X", "metadata": {}, "of": "it"}],
    ),
]
_BASES: dict[str, Json] = {
    "metrics": {"metrics": {kind: {"enabled": True} for kind in ("serviceMonitor", "prometheusRule", "dashboard")}},
    "metrics.serviceMonitor.enabled": {"metrics": {}},
    "metrics.prometheusRule.enabled": {"metrics": {}},
    "metrics.dashboard.enabled": {"metrics": {}},
    "ingress": {"ingress": {"enabled": True, "hosts": ["a.example"]}},
    "auth.serviceAccounts.enabled": {"auth": {"tokensSecret": "t"}},
    "auth.oidcCA.key": {"auth": {"oidcCA": {"configMap": "c"}}},
    "auth.insecureNoAuth": {"auth": {"serviceAccounts": {"enabled": False}}},
    "history.urlKey": {"history": {"urlSecret": "h"}},
}
"""Without what else a value has nothing to change, by its path or that of its parent."""


def _ids(table: list[_Row]) -> list[str]:
    return [path for path, *_ in table]


@pytest.mark.parametrize(("path", "value", "seen", "expected"), _TABLE, ids=_ids(_TABLE))
def test_each_value_changes_what_it_says(helm: Helm, path: str, value: object, seen: Seen, expected: object) -> None:
    base = _BASES.get(path) or _BASES.get(path.partition(".")[0]) or {}
    assert seen(helm.render(merged(base, nested(path, value)))) == expected
    assert _outcome(helm, base, seen) != expected


def _outcome(helm: Helm, values: Json, seen: Seen) -> object:
    """Otherwise there may be nothing to see at all."""
    try:
        return seen(helm.render(values))
    except (AssertionError, IndexError, KeyError, ValueError):
        return None


def test_no_documented_value_is_untested() -> None:
    assert sorted(_ids(_TABLE)) == sorted(value.path for value in chart.values())


_EXAMPLES: dict[str, object] = {
    "string": "text",
    "integer": 5000,
    "number": 2.5,
    "boolean": True,
    "array string": ["a", "b"],
    "array object": [{"key": "a"}],
    "object string": {"a": "b"},
}


def test_each_setting_reaches_the_service(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = json.loads(chart.SCHEMA.read_text())["properties"]["settings"]["properties"]
    chosen = {name: _example(schema) for name, schema in properties.items()}
    environment = helm.render({"settings": chosen}).environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.model_validate({})  # from the environment
    for name in set(Settings.model_fields) - chart.BY_CHART - {"allowed_hosts"}:
        assert getattr(settings, name) == chosen[chart.camel_case(name)], name
    assert set(settings.allowed_hosts) > {"a", "b"}
    assert set(environment) <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def _example(schema: Json) -> object:
    if "enum" in schema:
        return schema["enum"][-1]
    kind = " ".join(each for each in (schema["type"], _inner(schema)) if each)
    value = _EXAMPLES[kind]
    if isinstance(value, int | float):
        value = max(schema.get("minimum", 0), min(schema.get("maximum", value), value))
    return value


def _inner(schema: Json) -> str:
    inner: Json = schema.get("items") or schema.get("additionalProperties") or {}
    return str(inner.get("type", ""))


def test_large_numbers_are_written_out(helm: Helm) -> None:
    rendered = helm.render({"settings": {"replayBytes": 1 << 30, "gracePeriod": 0.5}})
    assert (rendered.environment["K8S_MCP_REPLAY_BYTES"], rendered.environment["K8S_MCP_GRACE_PERIOD"]) == (
        "1073741824",
        "0.5",
    )


def _paths(schema: Json, path: str = "") -> list[str]:
    """Every object of the schema that has a fixed set of keys."""
    if schema.get("additionalProperties") is not False:
        return []
    inner = [_paths(each, f"{path}.{key}".strip(".")) for key, each in schema.get("properties", {}).items()]
    return [path, *(each for several in inner for each in several)]


@pytest.mark.parametrize("path", _paths(json.loads(chart.SCHEMA.read_text())))
def test_unknown_keys_are_refused_by_name(helm: Helm, path: str) -> None:
    done = helm.template(nested(f"{path}.typo".strip("."), 1))
    assert done.returncode != 0
    assert "'typo' not allowed" in done.stderr
    assert f"at '{'/' if path else ''}{path.replace('.', '/')}'" in done.stderr


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", -1),
        ("replicas", "two"),
        ("traces", {"K8S_MCP_POLICY": "/tmp/other"}),
        ("image.repository", ""),
        ("image.digest", "sha256:short"),
        ("image.pullPolicy", "Sometimes"),
        ("auth.insecureNoAuth", "yes"),
        ("runner.namespace", "Not_A_Name"),
        ("runner.apiServerPorts", [70000]),
        ("runner.apiServerPorts", []),
        ("service.port", 0),
        ("service.type", "ExternalName"),
        ("clusters.prod", {"offeredTo": ["a"]}),
        ("settings.maxTimeout", 0),
        ("settings.maxTimeout", "60"),
        ("settings.logLevel", "loud"),
        ("settings.allowedOrigins", "https://a.example"),
        ("podDisruptionBudget.maxUnavailable", "some"),
    ],
)
def test_nonsense_is_refused_by_name(helm: Helm, path: str, value: object) -> None:
    done = helm.template(nested(path, value))
    assert done.returncode != 0
    assert f"at '/{path.replace('.', '/')}" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("auth", "named"),
    [
        ({"serviceAccounts": {"enabled": False}}, "auth.tokensSecret"),
        ({"insecureNoAuth": True}, "auth.serviceAccounts.enabled"),
        ({"insecureNoAuth": True, "serviceAccounts": {"enabled": False}, "tokensSecret": "t"}, "auth.tokensSecret"),
    ],
)
def test_who_may_call_has_to_be_clear(helm: Helm, auth: Json, named: str) -> None:
    done = helm.template({"auth": auth})
    assert done.returncode != 0
    assert named in done.stderr


def test_an_ingress_without_hosts_is_refused(helm: Helm) -> None:
    assert "ingress.hosts" in helm.template({"ingress": {"enabled": True}}).stderr


def test_names_of_the_service_are_allowed_hosts(helm: Helm) -> None:
    hosts = helm.render({}).environment["K8S_MCP_ALLOWED_HOSTS"].split(",")
    assert hosts == [_NAME, *(f"{_NAME}.{NAMESPACE}{rest}" for rest in ("", ".svc", ".svc.cluster.local"))]
