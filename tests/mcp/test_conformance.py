"""The official conformance suite: https://github.com/modelcontextprotocol/conformance"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.mcp.node_packages import NodePackages
from tests.support.service import Service

SUITE = "@modelcontextprotocol/conformance"

RUN = ["server-initialize", "ping", "tools-list", "server-sse-multiple-streams", "dns-rebinding-protection"]

_SPECIAL_TOOL = "calls a tool that only a server made for the suite has"
_NO_RESOURCES = "this server has no resources"
_NO_PROMPTS = "this server has no prompts"

NOT_RUN = {
    "logging-set-level": "this server sends no log messages to clients (deprecated since 2026-07-28)",
    "completion-complete": "this server completes no arguments: that is for prompts and resource templates",
    "tools-call-simple-text": _SPECIAL_TOOL,
    "tools-call-image": _SPECIAL_TOOL,
    "tools-call-audio": _SPECIAL_TOOL,
    "tools-call-embedded-resource": _SPECIAL_TOOL,
    "tools-call-mixed-content": _SPECIAL_TOOL,
    "tools-call-with-logging": _SPECIAL_TOOL,
    "tools-call-error": _SPECIAL_TOOL,
    "tools-call-with-progress": _SPECIAL_TOOL,
    "tools-call-sampling": _SPECIAL_TOOL,
    "tools-call-elicitation": _SPECIAL_TOOL,
    "json-schema-2020-12": _SPECIAL_TOOL,
    "elicitation-sep1034-defaults": _SPECIAL_TOOL,
    "elicitation-sep1330-enums": _SPECIAL_TOOL,
    "server-sse-polling": f"{_SPECIAL_TOOL}; and what it tries, resuming a stream, needs sessions with a memory",
    "resources-list": _NO_RESOURCES,
    "resources-read-text": _NO_RESOURCES,
    "resources-read-binary": _NO_RESOURCES,
    "resources-templates-read": _NO_RESOURCES,
    "resources-subscribe": _NO_RESOURCES,
    "resources-unsubscribe": _NO_RESOURCES,
    "prompts-list": _NO_PROMPTS,
    "prompts-get-simple": _NO_PROMPTS,
    "prompts-get-with-args": _NO_PROMPTS,
    "prompts-get-embedded-resource": _NO_PROMPTS,
    "prompts-get-with-image": _NO_PROMPTS,
}


@pytest.mark.parametrize("scenario", RUN)
def test_scenario_passes(node: NodePackages, server: Service, tmp_path: Path, scenario: str) -> None:
    """Against a service as `make run` starts it, without a setting."""
    url = f"{server.url}/mcp"
    command = node.program(SUITE, "server", "--url", url, "--scenario", scenario, "--output-dir", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [results] = tmp_path.glob("*/checks.json")
    checks = {check["id"]: check["status"] for check in json.loads(results.read_text())}
    assert set(checks.values()) <= {"SUCCESS", "INFO"}, results.read_text()
    assert "SUCCESS" in checks.values()  # a scenario that finds nothing to check passes, too


def test_every_scenario_of_the_suite_is_run_or_has_a_reason(node: NodePackages) -> None:
    done = subprocess.run(node.program(SUITE, "list", "--server"), capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  - (\S+)", done.stdout, re.MULTILINE)) == {*RUN, *NOT_RUN}
