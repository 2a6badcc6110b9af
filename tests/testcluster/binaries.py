"""Building the Go programs once, and keeping them by the hash of what they were built from.

`K8S_MCP_TEST_KUBERNETES=1.35` builds the node from `node/1.35.mod` instead of `node/go.mod`: another Kubernetes.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .commands import say
from .errors import ClusterError, NotPossibleError
from .layout import cache_dir

_SOURCES = Path(__file__).parent
_MODULES = "go.mod"
_FLAGS = ["-mod=readonly", "-buildvcs=false", "-trimpath"]


def node() -> Path:
    """Return the directory with `node` (Kubernetes), `kubectl`, `pki` and `pause`; the first time builds them."""
    other = os.environ.get("K8S_MCP_TEST_KUBERNETES", "")
    modules = f"{other}.mod" if other else _MODULES
    if not (_SOURCES / "node" / modules).is_file():
        others = ", ".join(sorted(file.stem for file in (_SOURCES / "node").glob("*.mod") if file.name != _MODULES))
        raise ClusterError(f"K8S_MCP_TEST_KUBERNETES is {other!r}; besides the default there is {others}")
    return _build("node", "about ten minutes", modules)


def dns() -> Path:
    """Return the directory with `dns` (CoreDNS); the first time builds it."""
    return _build("dns", "about two minutes")


def kwok() -> Path:
    """Return the directory with `kwok`, which plays nodes for `make bench`; the first time builds it."""
    return _build("kwok", "about five minutes")


def forget() -> None:
    """Remove everything built."""
    if cache_dir().exists():
        shutil.rmtree(cache_dir())


def _build(module: str, duration: str, modules: str = _MODULES) -> Path:
    source = _SOURCES / module
    linker_flags = f"-s -w {_version_stamp(source / modules)}"
    built = cache_dir() / f"{module}-{_key(source, modules, [*_FLAGS, linker_flags])}"
    if built.exists():
        return built
    go = shutil.which("go")
    if go is None:
        raise NotPossibleError("there is no Go to build it with, no kind, and no K8S_MCP_TEST_KUBECONFIG")
    with _one_builder(module):
        if not built.exists():
            say(f"building {module} with {go} (once, {duration} on two cores)")
            _compile(go, source, modules, linker_flags, built)
    return built


def _compile(go: str, source: Path, modules: str, linker_flags: str, built: Path) -> None:
    packages = [f"./{main.parent.relative_to(source)}" for main in sorted(source.glob("**/main.go"))]
    with tempfile.TemporaryDirectory(dir=built.parent) as work:
        out = Path(work) / "out"
        out.mkdir()
        build = [go, "build", f"-modfile={modules}", *_FLAGS, "-ldflags", linker_flags, "-o", f"{out}/", *packages]
        # What else a user's GOFLAGS or workspace says must not change what is kept under this key.
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        command = ["nice", "-n", "10", *build]
        done = subprocess.run(command, cwd=source, env=environment, stdout=2, check=False)  # 2: stderr
        if done.returncode != 0:
            raise ClusterError(f"go build in {source} failed, exit {done.returncode}; its messages are above")
        if (out / "node").exists():
            (out / "kubectl").symlink_to("node")
        out.rename(built)


def _key(source: Path, modules: str, flags: list[str]) -> str:
    digest = hashlib.sha256(repr(flags).encode())
    used = {modules, modules.replace(".mod", ".sum")}
    for file in sorted(one for one in source.rglob("*") if one.suffix == ".go" or one.name in used):
        digest.update(f"{file.relative_to(source)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _version_stamp(modules: Path) -> str:
    """Linker flags that tell Kubernetes its version, which a build from modules does not know."""
    pattern = re.compile(r"^\s*k8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)$", re.MULTILINE)
    found = pattern.search(modules.read_text())
    if found is None:
        return ""
    stamps = {"gitVersion": f"v{found[1]}", "gitMajor": found[2], "gitMinor": found[3]}
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())


@contextmanager
def _one_builder(module: str) -> Generator[None]:
    """Let two test runs that start together build once; the lock goes with the process that holds it."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
