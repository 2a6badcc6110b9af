"""What import-linter cannot say: the runner must work where nothing but Python is installed."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[1] / "src" / "k8s_mcp" / "runner"


def imported_modules(source: str) -> Iterator[str]:
    """Every absolute module name that the source imports, at any depth; relative ones as dots and name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def stays_inside(module: str) -> bool:
    if module.startswith(".."):
        return False
    return module.startswith((".", "k8s_mcp.runner")) or module.partition(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("file", sorted(RUNNER.rglob("*.py")), ids=lambda file: file.relative_to(RUNNER).as_posix())
def test_runner_imports_only_the_standard_library_and_itself(file: Path) -> None:
    outside = [module for module in imported_modules(file.read_text()) if not stays_inside(module)]
    assert outside == []


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("import zlib", True),
        ("import os.path as p", True),
        ("from . import frames", True),
        ("from .frames import Frame", True),
        ("from k8s_mcp.runner.frames import Frame", True),
        ("from ..models import Event", False),
        ("from .. import models", False),
        ("import k8s_mcp", False),
        ("from k8s_mcp import models", False),
        ("def f():\n    import httpx", False),
    ],
)
def test_an_import_from_outside_is_noticed(source: str, allowed: bool) -> None:
    assert all(map(stays_inside, imported_modules(source))) is allowed
