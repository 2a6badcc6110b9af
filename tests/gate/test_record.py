"""The record has every request, once, with its code; one that was cut short can be told from a whole one."""

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gate.conftest import StartGate
from tests.gate.ground import Ground

pytestmark = pytest.mark.cluster


def test_five_thousand_requests_twenty_at_a_time_are_each_there_once(ground: Ground, start_gate: StartGate) -> None:
    gate = start_gate(deny=[{"name": "deny[0]", "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}])
    kinds = {"configmaps": 404, "secrets": 403, "pods": 404, "nothings": 404}

    def ask(number: int) -> tuple[str, int]:
        resource = [*kinds][number % len(kinds)]
        code, _ = gate.ask("GET", f"/api/v1/namespaces/{ground.through}/{resource}/n-{number}")
        return f"{resource}/n-{number}", code

    with ThreadPoolExecutor(20) as pool:
        asked = dict(pool.map(ask, range(5000)))
    lines = gate.stop()
    assert [line["seq"] for line in lines] == list(range(5002))
    recorded = {f"{line['resource']}/{line['name']}": line["code"] for line in lines[1:-1]}
    assert recorded == asked
    assert Counter(asked.values()) == {404: 3750, 403: 1250}
    assert (lines[-1]["event"], lines[-1]["requests"], lines[-1]["refusals"]) == ("end", 5000, 1250)


def test_a_gate_that_was_killed_leaves_no_end(start_gate: StartGate) -> None:
    gate = start_gate()
    gate.ask("GET", "/version")
    gate.process.send_signal(signal.SIGKILL)
    gate.process.wait()
    assert [line["event"] for line in gate.lines()] == ["start", "request"]


def test_a_change_is_there_with_what_it_was(ground: Ground, start_gate: StartGate) -> None:
    gate = start_gate()
    script = """
        k create configmap recorded --from-literal=password=hunter2 >/dev/null
        k delete cm/recorded --dry-run=server >/dev/null
        k annotate cm/recorded secret=hunter2 >/dev/null; k delete cm/recorded >/dev/null
    """
    assert ground.run(script, gate.kubeconfig, ground.through).exit_code == 0
    text = "\n".join(map(str, gate.stop()))
    changes = [
        (line["verb"], line["resource"], line["name"], line["namespace"], line["code"], line["dry_run"])
        for line in gate.lines()
        if line["event"] == "request" and line["verb"] not in {"get", "list", "watch"}
    ]
    assert "hunter2" not in text
    of = ("configmaps", "recorded", ground.through)
    assert changes == [
        ("create", *of, 201, False),
        ("delete", *of, 200, True),
        ("patch", *of, 200, False),
        ("delete", *of, 200, False),
    ]
