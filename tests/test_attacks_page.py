"""docs/attacks.md names a test for every attack, and every test of an attack."""

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PAGE = (_ROOT / "docs" / "attacks.md").read_text()
_ROWS = [line for line in _PAGE.splitlines() if line.startswith("| ") and not line.endswith("| test |")]
_NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", _PAGE)
_ATTACKS = ("tests/web/test_attacks.py", "tests/web/page/test_hostile.py", "tests/e2e/test_attacks.py")


def functions_in(file: str) -> set[str]:
    tree = ast.parse((_ROOT / file).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", _ROWS, ids=[row[2:40] for row in _ROWS])
def test_every_attack_has_its_weakness_and_its_test(row: str) -> None:
    _, attack, weakness, measure, named, _ = map(str.strip, row.split("|"))
    assert attack
    assert re.search(r"CWE-\d+", weakness), row
    assert measure
    assert re.fullmatch(r"(`tests/[\w/]+\.py::test_\w+`(, |$))+", named), row


@pytest.mark.parametrize(("file", "name"), _NAMED)
def test_every_named_test_exists(file: str, name: str) -> None:
    assert name in functions_in(file)


@pytest.mark.parametrize("file", _ATTACKS)
def test_every_test_of_an_attack_is_on_the_page(file: str) -> None:
    assert functions_in(file) <= {name for where, name in _NAMED if where == file}
