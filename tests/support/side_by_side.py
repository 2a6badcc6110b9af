"""How tests run beside each other, a pytest plugin: a file's tests in one worker, those marked `alone` at the end.

Every worker of pytest-xdist holds a lock that it shares with the others until it is done. A test that runs alone
takes that lock for itself, so it waits until the other workers have ended.
"""

import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First those on a cluster, and of minutes: they take longest, and short ones then fill the workers evenly.

    Whatever takes the fixture `cluster` is on one, even where only one of a test's executors does.
    """
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("cluster")
    items.sort(key=lambda item: (_is_alone(item), not is_long(item)))


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        common = Path(config.option.basetemp).parent  # has a directory for each worker
        config.pluginmanager.register(_Worker(common))


class _Worker:
    def __init__(self, common: Path) -> None:
        self._lock = os.open(common, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        alone = _is_alone(item)
        fcntl.flock(self._lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            if alone:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def pytest_unconfigure(self) -> None:
        os.close(self._lock)


def is_long(item: pytest.Item) -> bool:
    """Whether it takes minutes, or is on a cluster."""
    return any(item.get_closest_marker(mark) for mark in ("cluster", "minutes"))


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
