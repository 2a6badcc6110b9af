"""Nobody is kept out: axe-core finds no barrier in any view, light and dark, wide and narrow; pictures of each.

With K8S_MCP_TEST_PICTURES=DIRECTORY the pictures are kept there: those of docs/page.md are made so.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.mcp import node_packages
from tests.support.callers import Callers
from tests.support.left_out import leave_out
from tests.support.service import Service
from tests.web.page.browser import SECONDS, Client, Tab
from tests.web.page.conftest import NewTab

expect.set_options(timeout=SECONDS * 1000)
WIDE, NARROW = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
SCHEMES: tuple[tuple[Literal["dark", "light"], str], ...] = (
    ("dark", "['color-contrast']"),  # nothing else depends on it
    ("light", "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"),
)
COLOURS = "; ".join(
    rf"printf '\033[{n}mcolour {n}\033[0m \033[1;{n}mbold\033[0m \033[2mdim\033[0m\n'"
    for n in (*range(30, 38), *range(90, 98), *range(40, 48), *range(100, 108), 7, "38;5;208", "48;2;10;200;90")
)


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        packages = node_packages.installed(Path(__file__).parent / "node", "axe")
    except node_packages.NotInstalledError as error:
        leave_out(f"axe-core cannot be installed: {error}")
    return (packages.directory / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    kept = os.environ.get("K8S_MCP_TEST_PICTURES")
    return Path(kept) if kept else tmp_path


def barriers(tab: Tab, axe: str, rules: str) -> list[str]:
    """What axe-core finds by these rules."""
    tab.ask("Runtime.evaluate", expression=axe)
    run = f"axe.run({{runOnly: {rules}}}).then((found) => found.violations)"
    found = tab.ask("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
    return [f"{one['id']}: {node['html'][:200]}" for one in found["result"]["value"] for node in one["nodes"]]


def views(page: Page, url: str, run_id: str) -> Iterator[str]:
    """Opens one after the other."""
    expect(page.get_by_role("row").filter(has_text="rollout").first).to_be_visible()
    yield "runs"
    page.goto(f"{url}/#/run/{run_id}")
    expect(page.locator(".line").first).to_be_visible()
    page.get_by_label("Search in the output").fill("served")
    expect(page.locator("mark").first).to_be_visible()
    yield "run"
    page.get_by_role("button", name="End the run").click()
    yield "question"
    page.get_by_role("dialog").get_by_role("button", name="Let it go on").click()
    page.goto(f"{url}/#/clusters")
    expect(page.get_by_role("row").filter(has_text="prod")).to_be_visible()
    yield "clusters"
    page.goto(f"{url}/#/new")
    expect(page.get_by_role("option", name="prod")).to_be_attached()
    yield "command"
    page.goto(f"{url}/#/me")
    expect(page.get_by_role("heading", name="Rules for you")).to_be_visible()
    yield "me"
    page.get_by_role("button", name="Forget the token").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    yield "token"


@pytest.mark.parametrize(("size", "viewport"), [("wide", WIDE), ("narrow", NARROW)])
def test_no_view_keeps_anybody_out(
    guarded: Service,
    callers: Callers,
    alice: Client,
    tab: NewTab,
    axe: str,
    pictures: Path,
    size: str,
    viewport: ViewportSize,
) -> None:
    alice.run("kubectl get pods -n shop || echo 61 pods")
    alice.run("kubectl rollout restart deployment/web -n shop; exit 1")
    olivia = Client(guarded.url, callers.tokens["olivia"])
    olivia.store()
    olivia.close()
    served = "for i in $(seq 40); do echo level=info msg=served n=$i; done; echo 'warning: slow' >&2"
    script = f"{COLOURS}; {served}; sleep 60"
    run_id = alice.start("kubectl logs --follow deploy/web -n shop 2>/dev/null || bash", stdin=script)
    here = tab(guarded, viewport=viewport, reduced_motion="reduce")
    page = here.open(token=callers.tokens["olivia"])
    for view in views(page, guarded.url, run_id):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        for scheme, rules in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert barriers(here, axe, rules) == [], (view, scheme, size)
            page.screenshot(path=pictures / f"{view}-{scheme}-{size}.png")


def test_page_is_used_by_keyboard_alone(guarded: Service, callers: Callers, alice: Client, tab: NewTab) -> None:
    alice.run("echo by keyboard")
    page = tab(guarded).open()
    page.keyboard.type(callers.tokens["alice"])  # the field has the focus
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text="by keyboard")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("rowgroup", name="Runs").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".line")).to_contain_text("by keyboard")
    page.keyboard.press("/")
    expect(page.get_by_label("Search in the output")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


def test_page_without_runs_and_clusters_says_what_to_do(guarded: Service, callers: Callers, tab: NewTab) -> None:
    page = tab(guarded).open(token=callers.tokens["bob"])
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    page.locator(".empty").get_by_role("link", name="Run a command").click()
    expect(page.locator(".empty")).to_contain_text("Store a cluster first")
    page.get_by_role("link", name="Store a cluster").click()
    expect(page.get_by_role("heading", name="No clusters stored")).to_be_visible()
