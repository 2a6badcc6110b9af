"""Images: made here from one file each, since there may be no registry to pull from, and loaded."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable
from pathlib import Path

from .commands import run, wait_for

BUSYBOX_IMAGE = "docker.io/k8s-mcp-test/busybox:1"

_ACCOUNTS = {
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\nnonroot:x:65532:65532::/tmp:/bin/sh\n",
    "etc/group": b"root:x:0:\nnonroot:x:65532:\n",
}


def busybox(program: Path) -> bytes:
    """Make the image of a small userland: a shell with its applets, a /tmp for everybody, `sh` by default."""
    applets = run(program, "--list-full").split()

    def fill(layer: tarfile.TarFile) -> None:
        for name in ("bin", "sbin", "usr", "usr/bin", "usr/sbin", "etc", "root", "tmp"):
            _add(layer, name, kind=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add(layer, "bin/busybox", program.read_bytes(), mode=0o755)
        for name, content in _ACCOUNTS.items():
            _add(layer, name, content)
        for name in applets:
            if name != "bin/busybox":
                _add(layer, name, kind=tarfile.SYMTYPE, target="/bin/busybox")

    return _archive(BUSYBOX_IMAGE, _tar(fill), {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})


def single_program(name: str, program: Path) -> bytes:
    """Make the image of one static program, which is also its entrypoint."""
    layer = _tar(lambda tar: _add(tar, program.name, program.read_bytes(), mode=0o755))
    return _archive(name, layer, {"Entrypoint": [f"/{program.name}"]})


def load(ctr: list[str], file: Path) -> None:
    """Import an archive into containerd, and return when the kubelet would find what was in it."""
    run(*ctr, "images", "import", file)

    def unknown() -> str | None:
        # containerd's CRI part learns of an image by an event, and marks what it has taken in.
        everything = run(*ctr, "images", "list", "-q").split()
        taken_in = run(*ctr, "images", "list", "-q", 'labels."io.cri-containerd.image"==managed').split()
        missing = set(everything) - set(taken_in)
        return f"not yet taken in: {' '.join(missing)}" if missing else None

    wait_for("the loaded image", unknown, 30)


def _archive(name: str, layer: bytes, config: dict[str, object]) -> bytes:
    """A docker-archive of one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    image = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    files = {
        "layer.tar": layer,
        "config.json": image,
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        ).encode(),
    }

    def fill(tar: tarfile.TarFile) -> None:
        for file, content in files.items():
            _add(tar, file, content)

    return _tar(fill)


def _tar(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        fill(tar)
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    target: str = "",
) -> None:
    entry = tarfile.TarInfo(name)  # owner root and time 0: the same input makes the same image
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, target, len(content)
    tar.addfile(entry, io.BytesIO(content))
