"""`pytest --short`, for `make check`: what needs no cluster, and takes a moment. A pytest plugin.

What takes longer is listed in `tests/slow.txt`, by what was measured. What is not in the list is not left out: a new
test is run, and so is one that was renamed. To add what has become slow, on a machine at rest:

    make check ARGS=--junit-xml=build/tests.xml
    .venv/bin/python -m tests.support.short_loop build/tests.xml

Twice, since what a test prepares for a file's others falls to the next one. To begin anew, empty the list first.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from xml.etree import ElementTree as ET

import pytest

from tests.support.side_by_side import is_long

SLOW = Path(__file__).parents[1] / "slow.txt"
LONGEST_SECONDS = 0.2
"""Of a test function, over all that it is called with; with what is prepared for it and cleaned up behind it."""


def add_options(parser: pytest.Parser) -> None:
    """`--short`."""
    parser.addoption("--short", action="store_true", help="only what needs no cluster and takes a moment")


@pytest.hookimpl(trylast=True)  # behind the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the others, and say how many."""
    if not config.getoption("--short"):
        return
    slow = _listed()
    left_out = [item for item in items if is_long(item) or function_of(item.nodeid) in slow]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def function_of(nodeid: str) -> str:
    """A test's id without what it is called with."""
    return nodeid.partition("[")[0]


def _listed() -> set[str]:
    return set(SLOW.read_text().splitlines())


def main() -> int:
    """Add to the list by pytest's report, argv[1]."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for case in ET.parse(sys.argv[1]).iter("testcase"):  # noqa: S314 - pytest has written it
        place = case.get("classname", "").replace(".", "/")
        seconds[function_of(f"{place}.py::{case.get('name')}")].append(float(case.get("time", 0)))
    slow = {name for name, taken in seconds.items() if mean(taken) > LONGEST_SECONDS}
    SLOW.write_text("".join(f"{name}\n" for name in sorted(slow | _listed())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
