"""What was built once, kept by the content of everything it was built from."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_KEPT = 3  # entries of one name: another branch's are not built anew at every change of branch


def key_of(*parts: str | bytes) -> str:
    """One name for a sequence of contents."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(b"%d\0" % len(content) + content)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Cache:
    """A directory of entries `NAME-KEY`, each a file or a directory that is there whole or not at all."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Cache":
        """K8S_MCP_CACHE, or else the user's own cache directory."""
        if explicit := os.environ.get("K8S_MCP_CACHE"):
            return cls(Path(explicit).absolute() / "images")
        base = os.environ.get("XDG_CACHE_HOME")
        return cls((Path(base) if base else Path.home() / ".cache") / "k8s-mcp-server" / "images")

    def entry(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """The entry, made by `make(path)` if it is not there; a second process that wants it waits."""
        path = self.root / f"{name}-{key}"
        if not path.exists():
            with self.locked(name):
                if not path.exists():
                    with self.scratch(name) as scratch:
                        make(scratch / "made")
                        (scratch / "made").rename(path)
                    self._forget_oldest(name)
        os.utime(path)
        return path

    @contextmanager
    def locked(self, name: str) -> Generator[None]:
        """Only one process at a time; the lock goes with the process that holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def scratch(self, name: str) -> Generator[Path]:
        """An empty directory beside the entries, for who holds that name's lock; removed at the end."""
        path = self.root / f".{name}.unfinished"
        if path.exists():  # of a process that was killed
            shutil.rmtree(path)
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def forget(self, name: str) -> None:
        """Remove every entry of that name."""
        for path in self._entries(name):
            _remove(path)

    def _forget_oldest(self, name: str) -> None:
        for path in self._entries(name)[:-_KEPT]:
            _remove(path)

    def _entries(self, name: str) -> list[Path]:
        """The one used last comes last."""
        key = "[0-9a-f]" * 16
        return sorted(self.root.glob(f"{name}-{key}"), key=lambda path: path.stat().st_mtime)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
