"""One image: what goes into it, and the archive that comes out."""

import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from . import base, engine
from .cache import Cache, key_of
from .commands import say
from .errors import BuildError
from .prebuilt import Prebuilt


@dataclass(frozen=True)
class Image:
    """An image by its short name. `sources` are globs in the repository, `target` a stage of the Dockerfile."""

    repository: Path
    name: str
    dockerfile: Path
    sources: tuple[str, ...]
    prebuilt: tuple[Prebuilt, ...]
    target: str = ""

    @property
    def tag(self) -> str:
        """The name that pods use, with the version of this tree."""
        return f"k8s-mcp-server/{self.name}:{self._version}"

    @cached_property
    def key(self) -> str:
        """Names the image by the content of all it is made from."""
        contents: list[str | bytes] = [self.tag, self.target, base.key()]
        contents += [part.key(self.repository) for part in self.prebuilt]
        for file in self._files():
            contents += [str(file), (self.repository / file).read_bytes()]
        return key_of(*contents)

    def archive(self, cache: Cache, *, fresh: bool = False) -> Path:
        """The docker-archive of the image, built if it is not there; `fresh` builds with today's packages."""
        if fresh:
            cache.forget(self.name)
        return cache.entry(self.name, self.key, lambda path: self._build(cache, path, fresh=fresh))

    @property
    def _version(self) -> str:
        file = self.repository / "src/k8s_mcp/__init__.py"
        found = re.search(r'^__version__ = "([\w.]+)"$', file.read_text(), re.MULTILINE)
        if found is None:
            raise BuildError(f'{file} has no line __version__ = "…"')
        return found[1]

    def _files(self) -> list[Path]:
        files = [self.dockerfile]
        for pattern in self.sources:
            found = sorted(path for path in self.repository.glob(pattern) if path.is_file())
            if not found:
                raise BuildError(f"the image {self.name} needs {pattern}, and there is no such file")
            files += [file.relative_to(self.repository) for file in found]
        return files

    def _build(self, cache: Cache, out: Path, *, fresh: bool) -> None:
        context = out.with_name("context")
        for file in self._files():
            _place(self.repository / file, context / file)
        for part in self.prebuilt:
            shutil.copytree(part.ensure(cache, self.repository), context / part.place)
        with engine.available(cache) as docker:
            arguments = {
                "BASE": base.ensure(cache, docker, fresh=fresh),
                "VERSION": self._version,
                **{part.argument: part.stage for part in self.prebuilt},
            }
            options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
            if self.target:
                options.append(f"--target={self.target}")
            if fresh:
                options.append("--no-cache")
            say(f"building {self.tag}")
            docker.build(context / self.dockerfile, context, self.tag, options)
            docker.save(self.tag, out)


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
