"""Who keeps account of what happens may fail; nothing that happens ends by it."""

from dataclasses import replace

import pytest

from k8s_mcp.errors import Unavailable
from k8s_mcp.observe.audit import entry_of
from k8s_mcp.observe.facts import CommandStarted, Happening, OrphanRemoved, RunEnded, RunStarted, to_all
from tests.observe.test_audit import NOTHING, happenings

STARTED, ADOPTED, *REST = happenings("x", NOTHING)


def broken(_: Happening) -> None:
    raise ValueError("made for this test")


@pytest.mark.parametrize("happening", [*REST, CommandStarted(1.0)], ids=lambda happening: type(happening).__name__)
def test_an_observer_that_raises_is_logged_and_counted_and_ends_nothing(
    happening: Happening, caplog: pytest.LogCaptureFixture
) -> None:
    told, failures = list[Happening](), list[None]()
    to_all(broken, told.append, on_failure=lambda: failures.append(None))(happening)
    assert told == [happening]
    assert len(failures) == 1
    assert f"an observer failed at {type(happening).__name__}" in caplog.text


@pytest.mark.parametrize("happening", [STARTED, ADOPTED], ids=["started", "adopted"])
def test_a_run_that_nobody_could_be_told_of_does_not_begin(happening: Happening) -> None:
    told, failures = list[Happening](), list[None]()
    with pytest.raises(Unavailable, match="keep account"):
        to_all(broken, told.append, on_failure=lambda: failures.append(None))(happening)
    assert told == []
    assert len(failures) == 1


def test_a_refusal_of_an_observer_is_passed_on_as_it_is() -> None:
    def full(_: Happening) -> None:
        raise Unavailable("the disk is full")

    with pytest.raises(Unavailable, match="the disk is full"):
        to_all(full, on_failure=lambda: None)(STARTED)


@pytest.mark.parametrize("created", ["", "soon", "2026-05-04T10:00:00", "99999"])
def test_a_run_whose_beginning_somebody_has_changed_has_its_line(created: str) -> None:
    [ended] = [happening for happening in REST if isinstance(happening, RunEnded)]
    entry = entry_of(replace(ended, run=replace(ended.run, created=created)), 100)
    assert entry
    assert (entry["created"], entry["seconds"]) == (created, None)
    assert entry_of(OrphanRemoved("id", "server", created), 100)
    assert entry_of(RunStarted(replace(ended.run, created=created)), 100)
