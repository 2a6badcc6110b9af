"""Who looks at runs in a browser while the replica that carries them is killed sees a pause, and nothing else."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Page, expect

from tests.soak.balancer import Address, balancer
from tests.support.execute import Exec
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService
from tests.web.page.browser import SECONDS, Tab, opened

pytestmark = pytest.mark.cluster

COUNT = 600
"""Lines of a run, ten a second: it goes on for longer than the Lease of a killed replica, 30 s."""
LINES = [f"line {number}" for number in range(1, COUNT + 1)]
TICKING = f"for i in $(seq {COUNT}); do echo line $i; sleep 0.1; done"
MINE, THEIRS = (f": by {who}; {TICKING}" for who in ("me", "somebody"))
SEEN_MEANWHILE = {
    "",
    "You started this run here: it ends soon after this tab is closed.",
    "The connection was lost. Trying again…",
    "The service does not answer. Trying again…",
}
expect.set_options(timeout=SECONDS * 1000)
LONGEST_PAUSE = 10.0
"""Seconds without a new line."""

WATCH = """() => {
    window.said = [];
    window.pause = 0;
    let last = performance.now();
    new MutationObserver((changes) => {
        for (const each of document.querySelectorAll("[role=status], [role=alert], .why")) {
            if (!each.closest(".bar") && !window.said.includes(each.textContent)) window.said.push(each.textContent);
        }
        if (changes.some((change) => [...change.addedNodes].some((one) => one.classList?.contains("line")))) {
            window.pause = Math.max(window.pause, performance.now() - last);
            last = performance.now();
        }
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@contextmanager
def one_address(replicas: Sequence[Service]) -> Generator[str]:
    """Of the first of them."""

    def who_serves() -> list[Address | None]:
        where = urlsplit(replicas[0].url)
        return [(str(where.hostname), int(where.port or 0))]

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(balancer(who_serves, 0, Random(0))) as address,
    ):
        yield address.any


def written(page: Page, file: Path) -> list[str]:
    """All lines that the page has, and what it says about them in between."""
    with page.expect_download() as begun:
        page.get_by_role("button", name="Download").click()
    begun.value.save_as(file)
    return file.read_text().splitlines()


@pytest.mark.timeout(300)
def test_a_replica_that_is_killed_is_a_pause_in_the_page(
    serve_kubernetes: StartService, kubeconfig: str, tmp_path: Path, prepared: Prepared
) -> None:
    """Of a run that the page has started, and of somebody else's that it looks at."""
    replicas = [serve_kubernetes(), serve_kubernetes()]
    with one_address(replicas) as url, opened() as browser:
        stored = {"kubeconfig": kubeconfig, "ttl": 600}
        httpx.put(f"{url}/clusters/page", json=stored, trust_env=False).raise_for_status()
        execute = Exec(url, tmp_path, kubeconfig, prepared)
        with execute.started("--cluster", "page", "--", THEIRS) as client:
            tabs = [Tab(browser, url), Tab(browser, url)]
            mine, theirs = tabs[0].open("#/new"), tabs[1].open()
            mine.get_by_label("Cluster").select_option("page")
            mine.get_by_label("Command").fill(MINE)
            mine.get_by_role("button", name="Run", exact=True).click()
            theirs.get_by_role("link", name=THEIRS).click()
            for page in (mine, theirs):
                expect(page.locator(".line").nth(9)).to_be_attached(timeout=90_000)
                page.evaluate(WATCH)
            replicas[0].kill()
            del replicas[0]
            output, _ = client.communicate(timeout=200)
            for tab, name in zip(tabs, ("mine", "theirs"), strict=True):
                page = tab.page
                expect(page.locator(".why")).to_have_text("Ended with exit code 0.")
                expect(page.locator(".banner")).to_be_hidden()
                expect(page.get_by_text("Trying again")).to_have_count(0)
                assert written(page, tmp_path / name) == LINES
                assert set(page.evaluate("window.said")) <= {*SEEN_MEANWHILE, "Ended with exit code 0."}
                assert page.evaluate("window.pause") < 1000 * LONGEST_PAUSE
                page.keyboard.press("Escape")
                for command in (MINE, THEIRS):
                    expect(page.get_by_role("row").filter(has_text=command)).to_contain_text("done")
                assert tab.wrong == []
        assert (output.decode().splitlines(), client.returncode) == (LINES, 0)
    assert replicas[0].log.read_text().count("carrying the run out") == 2
