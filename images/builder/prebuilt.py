"""What is made outside an image's build, and stands in for a stage of its Dockerfile."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import gate, tools, wheels
from .cache import Cache


@dataclass(frozen=True)
class Prebuilt:
    """A directory of files. With the build argument `argument=stage` the Dockerfile takes it from `place`."""

    argument: str
    stage: str
    place: Path
    key: Callable[[Path], str]
    ensure: Callable[[Cache, Path], Path]


TOOLS = Prebuilt("TOOLS", "prebuilt", Path("images/tools/bin"), tools.key, tools.ensure)
GATE = Prebuilt("GATE", "prebuilt-gate", Path("images/gate/bin"), gate.key, gate.ensure)
WHEELS = Prebuilt("WHEELS", "downloaded", Path("images/server/wheels"), wheels.key, wheels.ensure)
