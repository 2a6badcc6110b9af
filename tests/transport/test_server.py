"""The server says why it cannot start, in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import certificate
from tests.support.service import Service


@pytest.mark.parametrize("tls", [False, True])
def test_a_port_in_use_is_said_without_a_traceback(server: Service, tls: bool, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "k8s_mcp", "serve", "--port", port, "--local-dir", str(tmp_path / "runs")]
    if tls:
        made = certificate.make(tmp_path)
        command += ["--tls-certificate", str(made.file), "--tls-key", str(made.key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"k8s-mcp: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert "Traceback" not in done.stderr
