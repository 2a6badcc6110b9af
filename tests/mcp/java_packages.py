"""The MCP client of the SDK for Java, `java/`, compiled once into a cache. Needs Maven and a JDK from 17 on."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from images.builder.cache import Cache, key_of

_HERE = Path(__file__).parent / "java"
_FILES = ("pom.xml", "Client.java")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class NotInstalledError(Exception):
    """There is no Maven or no JDK, or Maven could not get the SDK; the message says which."""


@dataclass(frozen=True)
class JavaClient:
    """`directory` has the SDK and the compiled client."""

    directory: Path

    def __call__(self, transport: str, url: str, command: str, cluster: str, wait: int) -> list[str]:
        """The names of the tools, and what it saw of the command."""
        run = ["java", "-cp", f"{self.directory}:{self.directory}/*", "Client"]
        done = subprocess.run(
            [*run, transport, url, command, cluster, str(wait)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)


def installed() -> JavaClient:
    """Raises NotInstalledError."""
    for program in ("mvn", "javac"):
        if shutil.which(program) is None:
            raise NotInstalledError(f"{program} is not installed")
    cache = Cache(Cache.from_environment().root.parent / "mcp-clients")
    key = key_of(_output("javac", "-version"), *((_HERE / name).read_bytes() for name in _FILES))
    return JavaClient(cache.entry("java", key, _install))


def _install(directory: Path) -> None:
    _output("mvn", "-q", "-B", "-f", str(_HERE / "pom.xml"), _COPY, f"-DoutputDirectory={directory}")
    _output("javac", "-cp", f"{directory}/*", "-d", str(directory), str(_HERE / "Client.java"))


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalledError(f"{command[0]}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
