"""Metrics: those that are documented, counted as documented, with no label that a caller can choose."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from anyio.to_thread import run_sync
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from k8s_mcp.cluster.http import resource_of
from k8s_mcp.models import Ended, Principal
from k8s_mcp.observe.facts import (
    CommandStarted,
    Outcome,
    Refused,
    RunEnded,
    RunFacts,
    RunReleased,
    RunStarted,
    Target,
)
from k8s_mcp.observe.metrics import Metrics
from k8s_mcp.recorded import Requests
from tests.support.client import Client
from tests.support.kubeconfigs import TOKEN, credentials_in
from tests.support.left_out import leave_out
from tests.support.service import Service, StartService, wait_for

_ROOT = Path(__file__).parents[2]
_FILES = _ROOT / "charts" / "k8s-mcp-server" / "files"
_PAGE = _ROOT / "docs" / "metrics.md"

Samples = dict[str, float]
parse_openmetrics = cast("Callable[[str], Iterable[Metric]]", openmetrics.text_string_to_metric_families)  # pyright: ignore[reportUnknownMemberType]


def samples(text: str) -> Samples:
    """By name and labels, as they are written."""
    found: Samples = {}
    for family in parse_text(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def read(service: Service) -> Samples:
    return samples(service.get("/metrics").text)


def told(metrics: Metrics) -> Samples:
    return samples(metrics.exposition("")[0].decode())


RUN = RunFacts(
    run_id="r",
    principal=Principal("someone"),
    via="http",
    target=Target("https://192.0.2.1"),
    timeout=1,
    created="2026-05-04T10:00:00.000Z",
    command="true",
    command_content=None,
    stdin_content=None,
)


def ended(status: Any, exit_code: int | None = None, *, gaps: int = 0, lost: int = 0, left: str = "") -> RunEnded:
    outcome = Outcome(Ended(status, exit_code), None, RUN.created, {}, gaps, lost, {}, left)
    return RunEnded(RUN, outcome, command_started=True, seconds=2)


async def test_a_run_is_counted_from_start_to_end(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(resume_window=0)
    async with Client(service.url, fake_kubeconfig) as client:
        async with client.stream("echo one; echo two; echo three >&2; sleep 99") as stream:
            await stream.first("stderr")
            during = await run_sync(read, service)
        await client.run("echo one; exit 3")
        await run_sync(wait_for, lambda: read(service)["k8s_mcp_runs_active"] == 0)
        after = read(service)
    assert (during["k8s_mcp_runs_active"], during["k8s_mcp_runs_pending"]) == (1, 0)
    assert during["k8s_mcp_run_start_seconds_count"] == during["k8s_mcp_run_first_output_seconds_count"] == 1
    assert after['k8s_mcp_runs_total{outcome="failed"}'] == after['k8s_mcp_runs_total{outcome="cancelled"}'] == 1
    assert after['k8s_mcp_output_lines_total{stream="stdout"}'] == 3
    assert after['k8s_mcp_output_bytes_total{stream="stderr"}'] == len("three\n")
    assert after["k8s_mcp_run_duration_seconds_count"] == 2


def test_outcomes_gaps_and_failures_are_counted() -> None:
    metrics = Metrics("local")
    ends = [
        ended("done", 0),
        ended("done", 1, gaps=2, lost=30),
        ended("timeout", 124),
        ended("cancelled"),
        ended("error", left="Secret: 403"),
    ]
    for end in ends:
        metrics.observe(RunStarted(RUN))
        metrics.observe(CommandStarted(0.2))
        metrics.observe(end)
    metrics.observe(RunStarted(RUN))
    metrics.observe(RunReleased(RUN, command_started=False))
    metrics.observe(Refused(401, "Unauthorized", "http"))
    metrics.audit_failed()
    metrics.odd_object("leases")
    metrics.observer_failed()
    metrics.api_answered("create", "jobs", "201")
    found = told(metrics)
    for outcome in ("succeeded", "failed", "timeout", "cancelled", "error"):
        assert found[f'k8s_mcp_runs_total{{outcome="{outcome}"}}'] == 1
    assert (found["k8s_mcp_runs_active"], found["k8s_mcp_runs_pending"]) == (0, 0)
    assert (found["k8s_mcp_gaps_total"], found["k8s_mcp_lost_lines_total"]) == (2, 30)
    assert found["k8s_mcp_cleanup_failures_total"] == 1
    assert (found["k8s_mcp_run_start_seconds_count"], found["k8s_mcp_run_duration_seconds_sum"]) == (5, 10)
    assert found['k8s_mcp_requests_refused_total{code="401",reason="Unauthorized"}'] == 1
    assert (found["k8s_mcp_auth_failures_total"], found["k8s_mcp_audit_failures_total"]) == (1, 1)
    assert (found['k8s_mcp_odd_objects_total{resource="leases"}'], found["k8s_mcp_observer_failures_total"]) == (1, 1)
    assert found['k8s_mcp_api_requests_total{code="201",resource="jobs",verb="create"}'] == 1


def test_requests_are_counted_by_verb_and_result_and_by_nothing_that_a_command_chooses() -> None:
    metrics = Metrics("kubernetes")
    end = ended("done", 0)
    for complete in (True, True, False):
        counts = {("get", "ok"): 3, ("delete", "refused"): 1}
        requests = Requests(4, 1, complete, counts=counts)
        metrics.observe(replace(end, outcome=replace(end.outcome, requests=requests)))
    metrics.observe(end)
    found = told(metrics)
    assert found['k8s_mcp_gate_requests_total{result="ok",verb="get"}'] == 9
    assert found['k8s_mcp_gate_requests_total{result="refused",verb="delete"}'] == 3
    assert found["k8s_mcp_gate_records_incomplete_total"] == 1


def test_services_in_one_process_do_not_share_what_they_count() -> None:
    one, other = Metrics("local"), Metrics("local")
    one.observe(RunStarted(RUN))
    assert (told(one)["k8s_mcp_runs_active"], told(other)["k8s_mcp_runs_active"]) == (1, 0)


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/namespaces/a/pods", "pods"),
        ("/api/v1/namespaces/a/pods/run-1-x/log", "pods/log"),
        ("/apis/batch/v1/namespaces/a/jobs/run-1", "jobs"),
        ("/api/v1/namespaces/a", "namespaces"),
        ("/version", "version"),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "selfsubjectaccessreviews"),
    ],
)
def test_calls_are_counted_without_names(path: str, resource: str) -> None:
    assert resource_of(path) == resource


async def test_nothing_that_callers_send_is_in_a_metric(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve()
    async with Client(service.url, fake_kubeconfig) as client:
        await client.run(f"echo {TOKEN}")
        await client.http.put(f"/clusters/{TOKEN.lower()}", json={"kubeconfig": fake_kubeconfig})
        await client.http.post("/sse", json={TOKEN: 1})
        await client.http.get(f"/{TOKEN}")
        text = (await client.http.get("/metrics")).text
    assert credentials_in(text) == []
    assert TOKEN.lower() not in text


async def test_formats_are_negotiated(client: Client) -> None:
    for accept, kind in (
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=nonsense", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text; version=1.0.0,*/*",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text; version=nonsense",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ):
        answer = await client.http.get("/metrics", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        families = list((parse_openmetrics if "openmetrics" in kind else parse_text)(answer.text))
        assert "k8s_mcp_runs" in {family.name for family in families}


def own(service: Service) -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric of a service that is not one of its process."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in parse_text(service.get("/metrics").text):
        if family.name.startswith("k8s_mcp_") and not family.name.endswith("_created"):
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = (family.type, labels)
    return found


def test_page_lists_every_metric_and_no_other(server: Service) -> None:
    server.get("/nowhere")
    rows = re.findall(r"^\| `(k8s_mcp_\w+)` \| (\w+) \| (.*?) ?\|", _PAGE.read_text(), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    found = own(server)
    found["k8s_mcp_api_requests_total"] = ("counter", {"verb", "resource", "code"})  # none with the local executor
    found["k8s_mcp_gate_requests_total"] = ("counter", {"verb", "result"})  # nor these
    assert documented == found


def expressions() -> dict[str, str]:
    dashboard = json.loads((_FILES / "dashboard.json").read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    rules = yaml.safe_load((_FILES / "alerts.yaml").read_text())
    return found | {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}


def test_dashboard_and_alerts_use_metrics_and_labels_that_exist(server: Service) -> None:
    server.get("/nowhere")
    names = {name.partition("{")[0] for name in read(server)} | {"k8s_mcp_api_requests_total"}
    scraped = {"namespace", "pod", "le"}
    labels = scraped | {label for _, found in own(server).values() for label in found} | {"verb", "resource"}
    for where, expression in expressions().items():
        assert set(re.findall(r"\b(?:k8s_mcp|process)_\w+", expression)) <= names, where
        used = re.findall(r"(?:by|on) \(([^)]*)\)", expression) + re.findall(r"[{,]\s*(\w+)(?:=|!)", expression)
        assert {label.strip() for group in used for label in group.split(",")} <= labels, where


def test_dashboard_shows_whether_warm_pods_are_worth_their_place() -> None:
    shown = set(re.findall(r"k8s_mcp_warm_pod\w+", " ".join(expressions().values())))
    assert shown == {
        "k8s_mcp_warm_pods_waiting",
        "k8s_mcp_warm_pods_asked_total",
        "k8s_mcp_warm_pod_claim_seconds_bucket",
    }


def test_every_alert_says_what_to_do() -> None:
    alerts = {name for name in expressions() if name.startswith("K8sMcp")}
    assert alerts == set(re.findall(r"`(K8sMcp\w+)`", _PAGE.read_text()))


def test_expressions_are_valid(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        leave_out("no promtool here: Debian's package prometheus has it")
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions().values())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    for checked in (file, _FILES / "alerts.yaml"):
        done = subprocess.run([promtool, "check", "rules", checked], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
