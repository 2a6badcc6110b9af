"""The log: one line for one message, whatever is in it, with the id of the run it is about."""

import asyncio
import json
import logging
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k8s_mcp.log_format import Format, JsonFormatter, TextFormatter, about_run
from tests.support.client import Client
from tests.support.service import StartService

FORGED = "harmless\r\n2026-05-04T10:00:00.000Z ERROR k8s_mcp: forged\u2028\x1b[2Jmore\x85and\x7f\u202e"


def record(message: str, name: str = "k8s_mcp.runs.run", error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.WARNING, "", 0, "%s", (message,), info)


def raised(message: str) -> Exception:
    def fail() -> None:
        raise ValueError(message)

    try:
        fail()
    except ValueError as error:
        return error
    raise AssertionError


def is_plain(line: str) -> bool:
    return line.isprintable() or line.replace("\t", "").isprintable()


@given(st.text(), st.text(), st.text())
@example(FORGED, FORGED, FORGED)
def test_nothing_that_is_logged_begins_another_line(message: str, name: str, failure: str) -> None:
    with about_run("0" * 32):
        for error in (None, raised(failure)):
            line = JsonFormatter().format(record(message, name, error))
            assert line.isascii()
            assert line.isprintable()
            said = json.loads(line)
            assert (said.get("message", ""), said.get("logger", ""), said["run_id"]) == (message, name, "0" * 32)
            first, *rest = TextFormatter().format(record(message, name, error)).split("\n")
            assert len(first.splitlines()) == 1
            assert "WARNING" in first
            assert all(more.startswith("  ") and len(more.splitlines()) == 1 for more in rest)
            assert bool(rest) is bool(error)


def test_terminal_sequences_and_turned_text_are_shown_not_done() -> None:
    line = TextFormatter().format(record(FORGED))
    assert is_plain(line)
    assert r"harmless\r\n2026" in line
    assert r"\x1b[2J" in line
    assert r"\u202e" in line


@pytest.mark.parametrize(("kind", "formatter"), [("text", TextFormatter), ("json", JsonFormatter)])
async def test_lines_have_the_id_of_the_run_in_whose_task_they_are_written(
    kind: Format, formatter: type[logging.Formatter]
) -> None:
    def said() -> str:
        line = formatter().format(record("hello"))
        return json.loads(line).get("run_id", "") if kind == "json" else line.partition(" [")[2].partition("]")[0]

    async def library() -> str:
        await asyncio.sleep(0)
        return said()

    with about_run("a"):
        task = asyncio.create_task(library())
    with about_run("b"):
        assert said() == "b"
        assert await asyncio.to_thread(said) == "b"
    assert await task == "a"
    assert said() == ""


@pytest.mark.parametrize("kind", ["text", "json"])
async def test_service_names_the_run_that_a_line_is_about(
    serve: StartService, fake_kubeconfig: str, kind: Format
) -> None:
    service = serve(log_format=kind)
    async with Client(service.url, fake_kubeconfig) as client:
        shutil.rmtree(service.runs)
        failed = await client.run("true")
    assert failed.final["status"] == "error"
    service.kill()  # its directory is gone, so there is no good end for it
    log = service.log.read_text()
    if kind == "json":
        [said] = [said for line in log.splitlines() if "exception" in (said := json.loads(line))]
        assert said["run_id"] == failed.run_id
        assert "FileNotFoundError" in said["exception"]
    else:
        assert f"ERROR k8s_mcp.runs.run [{failed.run_id}]: the run failed\n  Traceback" in log


async def test_service_logs_in_json_from_its_first_line_on(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(log_format="json", log_level="debug", resume_window=0, no_such_setting=FORGED)
    async with Client(service.url, fake_kubeconfig) as client:
        await client.run("echo one")
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert any("listening on" in line["message"] for line in lines)
    assert any("NO_SUCH_SETTING" in line["message"] for line in lines)


def test_traceback_is_in_the_log_and_cannot_forge_a_line() -> None:
    line = JsonFormatter().format(record("failed", error=raised(FORGED)))
    assert "ValueError" in json.loads(line)["exception"]
    text = TextFormatter().format(record("failed", error=raised(FORGED)))
    assert "ValueError" in text
    assert not [part for part in text.splitlines()[1:] if not part.startswith("  ")]
