"""Streams in a real browser: compressed, and there line by line."""

from pathlib import Path

from playwright.sync_api import Response, expect

from tests.support.service import Service, wait_for
from tests.web.page.browser import SECONDS, Client
from tests.web.page.conftest import NewTab
from tests.web.test_compressed import LINES, stepping

expect.set_options(timeout=SECONDS * 1000)

SOURCE = """
url => {
  window.seen = [];
  const source = new EventSource(url);
  source.addEventListener("stdout", (event) => window.seen.push(event.data));
  source.addEventListener("control", (event) => JSON.parse(event.data).status === "done" && source.close());
}
"""


def test_the_page_and_an_event_source_read_line_by_line(
    server: Service, agent: Client, tab: NewTab, tmp_path: Path
) -> None:
    here = tab(server)
    encodings: list[str | None] = []

    def note(answer: Response) -> None:
        if "/events" in answer.url:
            encodings.append(answer.headers.get("content-encoding"))

    here.page.on("response", note)
    run_id = agent.start(stepping(tmp_path))
    page = here.open(f"#/run/{run_id}")
    page.evaluate(SOURCE, f"/runs/{run_id}/events")
    for line in range(1, LINES + 1):
        expect(page.locator(".line")).to_have_count(line)
        wait_for(lambda: page.evaluate("window.seen.length") == line, SECONDS)  # noqa: B023 - called at once
        (tmp_path / str(line)).touch()
    expect(page.locator(".why")).to_have_text("Ended with exit code 0.")
    assert encodings == ["gzip", "gzip"]
