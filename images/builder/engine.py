"""The Docker engine that builds: the one that is running, or a private one for the time of the build."""

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import packages
from .cache import Cache
from .commands import run, say, succeeds
from .daemon import running
from .errors import NotPossibleError

_CONFIGURATION = {
    # The machine's network stays as it is.
    "bridge": "none",
    "ip-forward": False,
    "iptables": False,
    "ip6tables": False,
    "ip-masq": False,
    "userland-proxy": False,
    "builder": {"gc": {"enabled": True, "defaultKeepStorage": "3GB"}},
}


@dataclass(frozen=True)
class Engine:
    """A running engine: the client program, and the options that reach it and that its builds need."""

    client: str | Path
    reach: tuple[str, ...] = ()
    build_options: tuple[str, ...] = ()

    def has(self, image: str) -> bool:
        return succeeds(*self._docker("image", "inspect", image))

    def pull(self, image: str) -> bool:
        return succeeds(*self._docker("pull", "--quiet", image))

    def import_image(self, tar: Path, name: str) -> None:
        run(*self._docker("import", "--change", 'CMD ["bash"]', str(tar), name))

    def build(self, dockerfile: Path, context: Path, name: str, options: list[str]) -> None:
        """Build an image of that name with BuildKit."""
        options = [*self.build_options, f"--file={dockerfile}", f"--tag={name}", *options]
        command = self._docker("build", *options, str(context))
        run(*command, env={**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"})

    def save(self, name: str, tar: Path) -> None:
        """Write the image as a docker-archive."""
        run(*self._docker("save", "--output", str(tar), name))

    def _docker(self, *arguments: str) -> tuple[str | Path, ...]:
        return (self.client, *self.reach, *arguments)


@contextmanager
def available(cache: Cache) -> Generator[Engine]:
    """The engine that docker's own settings name, if it answers; else a private one, stopped at the end."""
    if shutil.which("docker") and succeeds("docker", "version"):
        yield Engine("docker")
        return
    if os.geteuid() != 0:
        raise NotPossibleError("no Docker engine answers, and only root can start one")
    daemon = packages.ensure("dockerd", "builds the images", "docker.io")
    with cache.locked("engine"), _private(daemon, cache.root / "engine") as engine:
        yield engine


@contextmanager
def _private(daemon: Path, data: Path) -> Generator[Engine]:
    # The client of the same package: a newer one may need a plugin for BuildKit that is not there.
    client = daemon.resolve().parent.parent / "bin" / "docker"
    # The path of a socket has to be short, so this is not in the cache.
    with tempfile.TemporaryDirectory(prefix="k8s-mcp-engine-") as directory:
        own = Path(directory)
        address = f"unix://{own / 'docker.sock'}"
        (own / "config.json").write_text(json.dumps(_CONFIGURATION))
        options = {
            "config-file": own / "config.json",
            "data-root": data,
            "exec-root": own / "exec",
            "pidfile": own / "pid",
            "host": address,
        }
        say(f"starting a private {daemon}")
        with running([daemon, *(f"--{key}={value}" for key, value in options.items())], own):
            yield Engine(client, (f"--host={address}",), ("--network=host",))
