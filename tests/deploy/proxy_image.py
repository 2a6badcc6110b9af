"""An image with Debian's nginx, for an engine that cannot pull one: this machine's program with its libraries."""

import re
import subprocess
import tarfile
from pathlib import Path

NAME = "k8s-mcp-test/nginx:1"


def archive(program: Path, directory: Path) -> Path:
    """A file system for `docker import`."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"^\s+(?:\S+ => )?(/\S+)", listed, re.MULTILINE)
    file = directory / "nginx.tar"
    with tarfile.open(file, "w", dereference=True) as tar:
        tar.add(program, "usr/sbin/nginx")
        for library in libraries:
            tar.add(library, library.lstrip("/"))
    return file
