"""MCP clients from PyPI, each list of `python/` in an environment of its own, kept by its content.

They are not among the tests' own packages: some want another version of the SDK than the service.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from images.builder.cache import Cache, key_of

_HERE = Path(__file__).parent / "python"
_UV = Path(sys.executable).with_name("uv")


class NotInstalledError(Exception):
    """uv could not install them; the message says why."""


def installed(name: str) -> Path:
    """The Python of the environment for `python/NAME.lock`, exactly what that says. Raises NotInstalledError."""
    lock = _HERE / f"{name}.lock"

    def install(directory: Path) -> None:
        options = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--target", str(directory)]
        command = [_UV, "pip", "install", "--python", sys.executable, *options, "--requirement", str(lock)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalledError(done.stderr[-2000:])

    cache = Cache(Cache.from_environment().root.parent / "mcp-clients")
    return cache.entry(name, key_of(sys.version, lock.read_bytes()), install)


def run(packages: Path, script: str, *arguments: str) -> Any:
    """What the script of `python/` prints as JSON, run with those packages and nothing else."""
    command = [sys.executable, "-I", "-c", _START, str(packages), str(_HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


_START = """
import runpy, sys
sys.path = [place for place in sys.path if "site-packages" not in place] + [sys.argv.pop(1)]
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
