"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import json
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from tests.support.callers import bearer
from tests.support.kubeconfigs import fake
from tests.support.left_out import leave_out

_NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 30


@contextmanager
def opened() -> Generator[Browser]:
    """One browser. It sees nothing of this machine's own settings."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        leave_out("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A tab of its own, in which nothing may go wrong unseen: `wrong` has what its console said."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        chosen: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        self.context = browser.new_context(**chosen)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._refuse)
        self.page.on("console", self._note)

    def _refuse(self, dialog: Dialog) -> None:
        self.wrong.append(dialog.message)
        dialog.dismiss()

    def _note(self, said: ConsoleMessage) -> None:
        """What the page, or the browser about it, complains of; calls that fail are for the page to tell."""
        if said.type == "error" and not said.text.startswith("Failed to load resource"):
            self.wrong.append(said.text)

    def open(self, where: str = "", token: str = "") -> Page:
        """Open a view; `token` is entered where it is asked for."""
        self.page.goto(f"{self.url}/{where}")
        if token:
            self.page.get_by_label("Token").fill(token)
            self.page.keyboard.press("Enter")
            self.page.get_by_role("link", name="Clusters").wait_for()
        self.page.get_by_role("heading", level=1).first.wait_for()
        return self.page

    def elements(self) -> int:
        return self.page.evaluate("document.querySelectorAll('*').length")

    def megabytes(self) -> float:
        """What its scripts hold, once what is not needed has gone."""
        self.ask("HeapProfiler.collectGarbage")
        return self.ask("Runtime.getHeapUsage")["usedSize"] / 1e6

    def work(self, script: str) -> float:
        """Seconds of its processor's time that the page's own thread takes while `script` is carried out: they do not
        depend on what else the machine does.
        """
        session: Any = self.context.new_cdp_session(self.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def so_far() -> float:
            found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            return found["TaskDuration"]

        before = so_far()
        self.page.evaluate(script)
        return so_far() - before

    def ask(self, method: str, **parameters: object) -> Any:
        """Ask the browser itself, which no policy of the page's binds."""
        session: Any = self.context.new_cdp_session(self.page)
        return session.send(method, parameters)


class Client:
    """A client of the service in threads of its own, as an agent is."""

    def __init__(self, url: str, token: str = "") -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60, headers=bearer(token) if token else {})
        self._threads: list[threading.Thread] = []

    def store(self, name: str = "prod", kubeconfig: str = "") -> None:
        body = {"kubeconfig": kubeconfig or fake()}
        self.http.put(f"/clusters/{name}", json=body).raise_for_status()

    def start(self, command: str, **fields: object) -> str:
        """Start a run, and follow it to its end beside the test; its id."""
        told: list[str] = []
        begun = threading.Event()

        def follow() -> None:
            body = {"command": command, "cluster": "prod", **fields}
            with self.http.stream("POST", "/sse", json=body) as answer:
                for line in answer.iter_lines():
                    if not told and line.startswith("data: "):
                        told.append(json.loads(line[6:])["run_id"])
                        begun.set()

        thread = threading.Thread(target=follow)
        self._threads.append(thread)
        thread.start()
        assert begun.wait(SECONDS), command
        return told[0]

    def run(self, command: str, **fields: object) -> str:
        """Run it to its end; its id."""
        run_id = self.start(command, **fields)
        self._threads[-1].join(SECONDS)
        return run_id

    def close(self) -> None:
        """End what goes on, and wait for that."""
        for run in self.http.get("/runs").json()["runs"]:
            if run["ended"] is None:
                self.http.delete(f"/runs/{run['run_id']}")
        for thread in self._threads:
            thread.join(SECONDS)
        self.http.close()
