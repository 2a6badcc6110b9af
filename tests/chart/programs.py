"""helm of the images, and helm-unittest from its own module: `python -m tests.chart.programs` compiles it."""

from pathlib import Path

from images.builder import tools
from images.builder.cache import Cache
from tests.support.go_tools import compiled

_REPOSITORY = Path(__file__).parents[2]


def helm() -> Path:
    """Raises NotPossibleError where there is no Go."""
    return tools.ensure(Cache.from_environment(), _REPOSITORY) / "helm"


def helm_unittest() -> Path:
    """Four minutes on two cores when it is not yet compiled. Raises NotPossibleError where there is no Go."""
    return compiled(_REPOSITORY / "tests" / "tools" / "helm-unittest") / "helm-unittest"


if __name__ == "__main__":
    print(helm_unittest())
