"""The service does what its OpenAPI document says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import StartService

CONFIG = """
# GET is there for MCP clients, and no part of this document
[[operations]]
include-path = "/sse"
phases.coverage.unexpected-methods = ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
checks.allow_header_conformance.enabled = false
"""


@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(serve: StartService, tmp_path: Path) -> None:
    service = serve(replay_seconds=3600, history_seconds=3600, history_output="true")
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            f"--config-file={tmp_path / 'schemathesis.toml'}",
            "run",
            f"{service.url}/openapi.json",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=30",
            "--seed=1",
            "--generation-database=none",
            "--request-timeout=30",
            "--continue-on-failure",
            "--warnings=off",
            "--no-color",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
