"""The page shows runs of earlier on, after a restart, too: the list, a run, its output as it came then."""

from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.support.service import Service, StartService, wait_for
from tests.web.page.browser import SECONDS, Client
from tests.web.page.conftest import NewTab

HOSTILE = "<img src=x onerror=alert(1)>"

expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    return {"history_seconds": 86_400, "history_url": url, "history_output": True}


def run_before(service: Service, *commands: str) -> None:
    """Run them, and stop the service when its history has them."""
    agent = Client(service.url)
    agent.store()
    started = {agent.run(command) for command in commands}
    wait_for(lambda: started <= {one["run_id"] for one in agent.http.get("/runs?past=true").json()["runs"]})
    agent.close()
    assert service.stop() == 0


def test_runs_of_before_a_restart_are_listed_and_replayed(
    serve: StartService, settings: dict[str, object], tab: NewTab
) -> None:
    command = f"echo first; sleep 1.5; echo '{HOSTILE}' >&2; exit 3"
    run_before(serve(**settings), command)
    service = serve(**settings)
    page = tab(service).open()
    row = page.get_by_role("row").filter(has_text="echo first")
    expect(row).to_contain_text("exit 3")
    expect(page.get_by_role("button", name="Earlier")).to_be_hidden()
    row.get_by_role("link").click()
    expect(page.locator(".why")).to_have_text("Ended with exit code 3.")
    expect(page.locator(".line")).to_have_text(["1first", f"2stderr: {HOSTILE}"])
    page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => window.seen.push(document.querySelectorAll(".line").length))
            .observe(document.querySelector(".output"), {subtree: true, childList: true});
    }""")
    page.get_by_role("button", name="Replay").click()
    wait_for(lambda: page.evaluate("window.seen.includes(1) && window.seen.at(-1) === 2"))
    expect(page.locator(".line")).to_have_text(["1first", f"2stderr: {HOSTILE}"])


def test_there_is_a_way_back_and_a_word_about_what_is_missing(
    serve: StartService, settings: dict[str, object], tab: NewTab
) -> None:
    service = serve(**{**settings, "history_output": "false"})
    agent = Client(service.url)
    page_of = tab(service)
    listed = [
        {
            **dict.fromkeys(("exit_code", "timeout", "bytes", "lines"), 0),
            **dict.fromkeys(("handle", "started", "read_only", "dry_run")),
            "run_id": f"{number:032x}",
            "status": "done",
            "cluster": "https://s",
            "created": f"2026-11-28T{number:02d}:00:00.000Z",
            "ended": f"2026-11-28T{number:02d}:00:01.000Z",
            "command": f"echo {number}",
        }
        for number in range(4)
    ]
    gaps = [{"from": "2026-11-28T05:00:00.000Z", "to": "2026-11-28T06:00:00.000Z"}]
    pages = {
        False: {"runs": listed[:1:-1], "next": f"{listed[2]['created']}/{listed[2]['run_id']}", "missed": gaps},
        True: {"runs": listed[1::-1], "next": None, "missed": gaps},
    }
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503, json={"detail": "the history is away"})
        else:
            route.fulfill(json={"all": True, **pages["before=" in route.request.url]})

    page_of.page.route(lambda url: "past=true" in url, answer)
    page = page_of.open()
    expect(page.get_by_text("the history is away")).to_be_visible()
    for _ in range(3):
        with page.expect_response(lambda answer: answer.url.endswith("/runs?all=true")):
            pass
    assert len(asked) == 1, "who asks every second, asks for that once"
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_text("Runs that ended between")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(1 + 2)
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_role("row")).to_have_count(1 + 4)
    expect(page.get_by_role("button", name="Earlier")).to_be_hidden()
    agent.close()
