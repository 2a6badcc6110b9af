"""What commands, clusters and other pages try with the page, in a real browser."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.callers import Callers
from tests.support.service import Service
from tests.web.page.browser import SECONDS, Client
from tests.web.page.conftest import NewTab

expect.set_options(timeout=SECONDS * 1000)

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script><a href='javascript:alert(3)'>x</a>"
TURNED = "safe \u202egnp.exe\u202c \u2067end\u2069 \u200b."
_TITLE, _LINK = "\x1b]0;title\x07", "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\"
SEQUENCES = f"{_TITLE}{_LINK} \x1b[2J\x1b[H\x1b[?1049h\x1bP1$q\x1b\\\x9b31mred"
EVERYTHING = f"{MARKUP}{TURNED}{SEQUENCES}{{{{7*7}}}}`${{alert(4)}}"


def only_ours(page: Any) -> bool:
    """Whether every element is one that the page makes, and nothing was fetched from elsewhere."""
    return page.evaluate("""() => {
        const tags = "IMG IFRAME OBJECT EMBED SVG STYLE BASE META FORM".split(" ");
        const odd = [...document.body.querySelectorAll("*")].filter((one) =>
            (tags.includes(one.tagName.toUpperCase()) && one.tagName !== "FORM") || one.tagName === "SCRIPT" ||
            [...one.attributes].some(({name, value}) => name.startsWith("on") || /^javascript:/i.test(value)));
        const from = performance.getEntriesByType("resource").filter(({name}) => !name.startsWith(location.origin));
        return odd.length === 0 && from.length === 0 && window.hacked === undefined;
    }""")


def test_output_and_command_are_text_whatever_they_hold(server: Service, agent: Client, tab: NewTab) -> None:
    here = tab(server)
    said = f"cat <<'E'\n{MARKUP}\n{TURNED}\n{SEQUENCES}\nE\nsleep 0.5; cat >&2 <<'E'\n{MARKUP}\nE\n"
    script = f"{said}sleep 0.5; head -c 5000000 /dev/zero | tr '\\0' x"
    run_id = agent.run(script)
    page = here.open()
    expect(page.get_by_role("link", name="cat <<'E'")).to_contain_text("<script>alert(2)</script>")
    page.goto(f"{server.url}/#/run/{run_id}")
    expect(page.locator(".line.stdout", has_text="xxx").last).to_be_visible()
    expect(page.locator(".why")).to_contain_text("exit code 0")
    page.get_by_role("log").evaluate("log => log.scrollTop = 0")
    expect(page.locator(".line.stdout").first).to_have_text(f"1{MARKUP}")
    lines = page.locator(".line bdi").all_text_contents()
    assert lines[1] == "safe ‹202e›gnp.exe‹202c› ‹2067›end‹2069› ‹200b›."
    assert lines[2] == "link red"
    assert lines[3] == MARKUP
    assert max(map(len, lines)) < 5000
    assert "characters more" in lines[-1]
    expect(page.locator("pre.command")).to_contain_text("‹202e›gnp.exe")
    assert only_ours(page)
    assert page.title().startswith("Run ")
    assert here.elements() < 1000


def test_whatever_the_service_passes_on_is_text(server: Service, tab: NewTab) -> None:
    """Names, servers, messages, changes: of which a stranger could choose each."""
    here = tab(server)
    evil = EVERYTHING
    run: dict[str, Any] = {
        "run_id": "0" * 32,
        "status": "error",
        "exit_code": None,
        "reason": evil,
        "message": evil,
        "created": "2026-11-29T20:00:00.000Z",
        "started": None,
        "ended": "2026-11-29T20:00:01.000Z",
        "cluster": evil,
        "handle": evil,
        "command": evil,
        "principal": evil,
        "timeout": 1,
        "lines": 0,
        "read_only": True,
        "dry_run": False,
        "bytes": 0,
    }
    change = dict.fromkeys(("verb", "resource", "subresource", "namespace", "name", "path", "refused"), evil)
    change |= {"time": "2026-11-29T20:00:00.000Z", "code": 403, "dry_run": True}
    requests = {"total": 1, "refused": 1, "complete": True, "changes": [change]}
    me = {
        "principal": evil,
        "groups": [evil],
        "access": "full",
        "read_only_runs": True,
        "max_timeout": 9,
        "observer": {"output": True, "cancel": True},
        "rules": [{"name": evil, "handles": [evil], "servers": [evil], "access": "full", "own_kubeconfigs": True}],
    }
    cluster = {"name": "n", "server": evil, "contexts": [evil], "expires": "2030-01-01T00:00:00Z", "offered": False}
    pending = {**run, "run_id": "1" * 32, "status": "pending", "ended": None}
    answers: dict[str, Any] = {
        "**/me": me,
        "**/runs?all=true*": {"all": True, "runs": [run, pending]},
        f"**/runs/{run['run_id']}": {**run, "requests": requests},
        "**/clusters": {"clusters": [cluster]},
    }
    for path, answer in answers.items():
        here.page.route(path, partial(_answer, answer))
    page = here.open()
    expect(page.get_by_role("row").nth(2)).to_contain_text("<script>alert(2)</script>")
    for view in ("", f"run/{run['run_id']}", "clusters", "new", "me"):
        page.goto(f"{server.url}/#/{view}")
        expect(page.locator("main")).to_contain_text("onerror=alert(1)")
        assert only_ours(page), view
        assert "\u202e" not in page.locator("body").inner_text()
    page.goto(f"{server.url}/#/run/{run['run_id']}")
    expect(page.get_by_role("table")).to_contain_text("refused by")
    page.goto(f"{server.url}/#/run/<img src=x onerror=alert(1)>/../../clusters")
    expect(page.locator("main")).to_contain_text("No such run")
    assert only_ours(page)


def _answer(answer: Any, route: Route) -> None:
    route.fulfill(json=answer)


def test_what_is_put_into_the_page_all_the_same_does_nothing(server: Service, tab: NewTab) -> None:
    here = tab(server)
    page = here.open()
    tried = page.evaluate("""() => {
        const tries = [
            () => { document.body.innerHTML += "<img src=x onerror='window.hacked = 1'>"; },
            () => { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); },
            () => { const s = document.createElement("script"); s.textContent = "window.hacked = 1";
                    document.body.append(s); },
            () => { const s = document.createElement("script"); s.src = "data:text/javascript,window.hacked=1"; },
            () => { trustedTypes.createPolicy("mine", {createHTML: (text) => text}); },
            () => { document.body.setAttribute("onclick", "window.hacked = 1"); document.body.click(); },
        ];
        return tries.map((one) => { try { one(); return ""; } catch (error) { return error.name; } });
    }""")
    assert tried.count("TypeError") >= 4
    assert page.evaluate("window.hacked") is None
    elsewhere = page.evaluate("fetch('http://127.0.0.1:1/').then(() => 'sent', (error) => error.name)")
    assert elsewhere == "TypeError"
    assert here.wrong, "the browser says that it has refused that"
    here.wrong.clear()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a page of somebody else's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><h1>elsewhere</h1>")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_page_of_somebody_else_has_nothing_of_it(
    server: Service, browser: Browser, agent: Client, elsewhere: str
) -> None:
    agent.run("echo secret")
    context = browser.new_context()
    page = context.new_page()
    page.goto(elsewhere)
    tried = page.evaluate(
        """async (url) => {
            const said = {};
            const body = JSON.stringify({command: "echo stolen", cluster: "prod"});
            const tries = {
                read: () => fetch(`${url}/runs`),
                run: () => fetch(`${url}/sse`, {method: "POST", body, headers: {"Content-Type": "application/json"}}),
                simple: () => fetch(`${url}/sse`, {method: "POST", body, mode: "no-cors"}),
                module: () => import(`${url}/page/main.js`),
                page: () => fetch(`${url}/`),
            };
            for (const [name, one] of Object.entries(tries)) {
                said[name] = await one().then((answer) => answer.type ?? "loaded", (error) => error.name);
            }
            const frame = document.createElement("iframe");
            frame.src = `${url}/`;
            await new Promise((resolve) => { frame.onload = resolve; document.body.append(frame); });
            try { said.frame = frame.contentDocument?.body.textContent ?? "none"; }
            catch (error) { said.frame = error.name; }
            said.frames = frame.contentWindow.length;
            return said;
        }""",
        server.url,
    )
    assert {tried[name] for name in ("read", "run", "module", "page")} == {"TypeError"}
    assert tried["simple"] in {"opaque", "TypeError"}
    [frame] = page.frames[1:]
    assert "Runs" not in frame.locator("html").inner_text()
    form = """(url) => {
        const form = document.createElement("form");
        Object.assign(form, {method: "POST", action: `${url}/sse`, enctype: "text/plain"});
        document.body.append(form);
        form.submit();
    }"""
    with page.expect_navigation():
        page.evaluate(form, server.url)
    assert "not allowed" in page.content()
    assert not [run for run in agent.http.get("/runs").json()["runs"] if "stolen" in run["command"]]
    context.close()


def test_token_in_the_address_is_not_used_and_does_not_stay_there(
    guarded: Service, callers: Callers, alice: Client, tab: NewTab
) -> None:
    token = callers.tokens["alice"]
    for where in (f"?token={token}", f"?access_token={token}", f"#token={token}", f"#/runs?token={token}"):
        here = tab(guarded)
        page = here.open(where)
        expect(page.get_by_role("alert")).to_contain_text("The address held a token, which was not used")
        assert token not in page.url
        assert token not in page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)


def test_token_in_the_address_is_said_where_none_is_asked_for(server: Service, tab: NewTab) -> None:
    page = tab(server).open("?token=secret")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="No runs yet").or_(page.get_by_role("table"))).to_be_visible()
    expect(page.locator(".banner")).to_contain_text("The address held a token, which was not used")
    assert "secret" not in page.url


def test_stolen_link_leads_to_nothing_and_a_token_stays_in_its_tab(
    guarded: Service, callers: Callers, alice: Client, tab: NewTab
) -> None:
    run_id = alice.run("echo secret of alice")
    here = tab(guarded)
    page = here.open(f"#/run/{run_id}")
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    page.get_by_label("Token").fill(callers.tokens["alice"])
    page.keyboard.press("Enter")
    expect(page.locator(".line", has_text="secret of alice")).to_be_visible()
    page.reload()
    expect(page.locator(".line", has_text="secret of alice")).to_be_visible()
    assert here.context.cookies() == []
    assert callers.tokens["alice"] not in page.evaluate("JSON.stringify(localStorage)") + page.url + page.content()
    other = here.context.new_page()
    other.goto(f"{guarded.url}/#/run/{run_id}")
    expect(other.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.goto(f"{guarded.url}/#/me")
    page.get_by_role("button", name="Forget the token").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
