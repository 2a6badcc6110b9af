"""What import-linter cannot say: the runner needs nothing but Python, and files and functions stay short."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "k8s_mcp"
RUNNER = PACKAGE / "runner"

MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 50


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


def long_files(package: Path) -> set[str]:
    files = package.rglob("*.py")
    return {file.relative_to(package).as_posix() for file in files if len(file.read_text().splitlines()) > MOST_LINES}


def long_functions(package: Path) -> set[str]:
    """Decorators count, and so do functions inside a function."""
    return {
        f"{file.relative_to(package).as_posix()}: {node.name}"
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - min(at.lineno for at in (node, *node.decorator_list)) >= MOST_LINES_OF_A_FUNCTION
    }


def test_no_file_and_no_function_is_too_long() -> None:
    assert long_files(PACKAGE) == set()
    assert long_functions(PACKAGE) == set()


def test_what_is_too_long_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text("\n" * 300)
    (tmp_path / "long.py").write_text("\n" * 301)
    (tmp_path / "f.py").write_text("@a\n@b\nasync def long():\n" + "    0\n" * 48 + "def short():\n" + "    0\n" * 49)
    assert long_files(tmp_path) == {"long.py"}
    assert long_functions(tmp_path) == {"f.py: long"}
