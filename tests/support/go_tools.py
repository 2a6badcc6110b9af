"""Command line tools for tests, built once from Go modules that pin and checksum them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.left_out import leave_out

_BUILD = ["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w"]


def go_tools(module: Path) -> Path:
    """The directory with the programs that the tool lines of `module`/go.mod name; the first time builds them."""
    go = shutil.which("go")
    if go is None:
        leave_out("Go is not installed, to build a tool")
    digest = hashlib.sha256(repr(_BUILD).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((module / name).read_bytes())
    cache = Path(os.environ.get("K8S_MCP_CACHE") or Path.home() / ".cache" / "k8s-mcp-server") / "test-tools"
    cache.mkdir(parents=True, exist_ok=True)
    built = cache / f"{module.name}-{digest.hexdigest()[:16]}"
    with (cache / f"{module.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                out = Path(work) / "out"
                environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
                subprocess.run([go, *_BUILD, "-o", f"{out}/", "tool"], cwd=module, env=environment, check=True)
                out.rename(built)
    return built
