"""`k8s-mcp check` says whether runs will work on this host, and what to do where they will not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.prepared import Prepared

FAILED, USAGE_ERROR = 1, 2


Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def check(prepared: Prepared) -> Check:
    """The exit code, and the findings by what they are about."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K8S_MCP_")}

    def run(*words: str, path: str = os.environ["PATH"]) -> tuple[int, dict[str, Any]]:
        done = prepared.run("local", ["check", "--json", *words], {**kept, "PATH": path}, Path.cwd())
        report = json.loads(done.stdout)
        assert report["ok"] is (done.returncode == 0), done.stderr
        for finding in report["checks"]:
            assert finding["status"] in {"ok", "failed", "note"}
            assert bool(finding["advice"]) is (finding["status"] != "ok"), finding
        return done.returncode, {finding["what"]: finding for finding in report["checks"]}

    return run


def programs(directory: Path, *names: str) -> str:
    """A PATH with these programs alone; `kubectl` need not work."""
    directory.mkdir()
    for name in names:
        (directory / name).symlink_to("/bin/true" if name == "kubectl" else f"/bin/{name}")
    return str(directory)


def test_all_is_well(check: Check, tmp_path: Path) -> None:
    code, found = check("--local-dir", str(tmp_path / "runs"), path=programs(tmp_path / "bin", "bash", "kubectl"))
    assert code == 0
    assert list(found) == ["address", "history", "bash", "kubectl", "directory", "memory", "one run"]
    assert {finding["status"] for name, finding in found.items() if name != "memory"} == {"ok"}
    assert list((tmp_path / "runs").iterdir()) == []


def test_memory_is_told_from_a_disk(check: Check, tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", "bash", "kubectl")
    with TemporaryDirectory(dir="/dev/shm") as directory:
        _, found = check("--local-dir", f"{directory}/runs", path=path)
    assert found["memory"]["said"] == "kubeconfigs stay in memory (tmpfs)"
    code, found = check("--local-dir", str(tmp_path / "runs"), path=path)
    assert code == 0
    if found["memory"]["status"] != "ok":  # where temporary files are on a disk
        assert "K8S_MCP_LOCAL_DIR" in found["memory"]["advice"]


def test_policy_is_read_and_binds_callers_alone(check: Check, tmp_path: Path) -> None:
    path, policy = programs(tmp_path / "bin", "bash", "kubectl"), tmp_path / "policy.yaml"
    policy.write_text("rules: []\n")
    options = ("--local-dir", str(tmp_path / "runs"), "--policy", str(policy))
    code, found = check(*options, path=path)
    assert code == 0
    assert found["policy"]["status"] == found["one run"]["status"] == "ok"
    policy.write_text("rulez: []\n")
    code, found = check(*options, path=path)
    assert code == FAILED
    assert "rulez" in found["policy"]["said"]


@pytest.mark.parametrize("missing", ["bash", "kubectl"])
def test_missing_program(check: Check, missing: str, tmp_path: Path) -> None:
    there = {"bash", "kubectl"} - {missing}
    code, found = check("--local-dir", str(tmp_path / "runs"), path=programs(tmp_path / "bin", *there))
    assert code == FAILED
    assert found[missing]["status"] == "failed"
    assert missing in found[missing]["advice"]
    assert found["one run"]["said"] == "not tried"


def test_directory_of_somebody_else(check: Check, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    code, found = check("--local-dir", str(shared), path=programs(tmp_path / "bin", "bash", "kubectl"))
    assert code == FAILED
    assert str(shared) in found["directory"]["said"]
    assert "K8S_MCP_LOCAL_DIR" in found["directory"]["advice"]


def test_table_for_people(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "k8s_mcp", "check", "--local-dir", str(tmp_path / "runs")]
    path = programs(tmp_path / "bin", "bash")
    done = subprocess.run(call, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == FAILED
    address, history, bash, kubectl, advice, *_ = done.stdout.splitlines()
    assert address.split()[:2] == ["ok", "address"]
    assert history.split()[:2] == ["ok", "history"]
    assert bash.split() == ["ok", "bash", f"{path}/bash"]
    assert kubectl.startswith("FAILED  kubectl ")
    assert advice.split(maxsplit=1) == ["→", "install kubectl where the service finds it"]


def test_unusable_configuration(check: Check, tmp_path: Path) -> None:
    code, found = check("--executor", "kubernetes", "--kubeconfig", str(tmp_path / "missing"))
    assert code == FAILED
    assert found["configuration"]["status"] == "failed"
    assert "K8S_MCP_KUBECONFIG" in found["configuration"]["advice"]


def test_clean_does_not_take_the_local_executor_for_a_cluster() -> None:
    call = [sys.executable, "-m", "k8s_mcp", "clean", "--yes"]
    done = subprocess.run(call, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert done.returncode == USAGE_ERROR
    assert "--executor kubernetes" in done.stderr
