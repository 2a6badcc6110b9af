"""What a person does with the page, in a real browser."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.support.callers import Callers
from tests.support.kubeconfigs import fake
from tests.support.service import Service, StartService, wait_for
from tests.web.page.browser import SECONDS, Client
from tests.web.page.conftest import NewTab

SHOWN_MS = 200
"""Within which a line is to be seen."""

expect.set_options(timeout=SECONDS * 1000)


def test_runs_appear_as_they_start_and_end_and_can_be_found(server: Service, agent: Client, tab: NewTab) -> None:
    page = tab(server).open()
    expect(page.get_by_role("heading", name="No runs yet").or_(page.get_by_role("table"))).to_be_visible()
    agent.run("echo first; exit 3")
    run_id = agent.start("echo ready; sleep 60")
    row = page.get_by_role("row").filter(has_text="echo ready")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("prod")
    expect(page.get_by_role("row").filter(has_text="echo first")).to_contain_text("exit 3")
    agent.run("kill -9 $PPID")
    expect(page.get_by_role("row").filter(has_text="kill -9")).to_contain_text("RunnerLost")
    page.keyboard.press("/")
    page.keyboard.type("ready")
    expect(page.get_by_role("row")).to_have_count(2)  # the head, too
    page.keyboard.type(" no such")
    expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
    page.get_by_role("button", name="Clear the filter").click()
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_role("row").filter(has_text="echo first")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="echo ready")).to_have_count(0)
    page.get_by_label("Status").select_option("")
    page.get_by_role("link", name="echo ready").click()
    page.get_by_role("button", name="End the run").click()
    page.get_by_role("dialog").get_by_role("button", name="End the run").click()
    expect(page.locator(".why")).to_contain_text("Cancelled")
    assert agent.http.get(f"/runs/{run_id}").json()["status"] == "cancelled"
    page.keyboard.press("Escape")
    expect(page.get_by_role("row").filter(has_text="echo ready")).to_contain_text("cancelled")


def test_output_has_colours_streams_search_and_leaves_as_a_file(
    server: Service, agent: Client, tab: NewTab, tmp_path: Path
) -> None:
    context = tab(server, permissions=["clipboard-read", "clipboard-write"])
    run_id = agent.run(
        r"printf '\033[1;31mred\033[0m plain\n'; sleep 0.5; echo aside >&2; sleep 0.5; seq 1000; echo last"
    )
    page = context.open(f"#/run/{run_id}")
    expect(page.locator(".line", has_text="last")).to_be_visible()
    expect(page.locator(".why")).to_have_text("Ended with exit code 0.")
    page.get_by_role("button", name="Follow").click()
    page.get_by_role("log").evaluate("log => log.scrollTop = 0")
    expect(page.locator(".line .f2.bold")).to_have_text("red")
    expect(page.locator(".line.stderr")).to_contain_text("stderr: aside")
    search = page.get_by_label("Search in the output")
    search.fill("99")
    expect(page.get_by_text("1 / 19")).to_be_visible()
    expect(page.locator(".line.current mark")).to_have_text("99")
    search.press("Shift+Enter")
    expect(page.get_by_text("19 / 19")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("red plain\naside\n1\n2\n")
    with page.expect_download() as begun:
        page.get_by_role("button", name="Download").click()
    begun.value.save_as(tmp_path / "log")
    assert (tmp_path / "log").read_text().startswith("\x1b[1;31mred\x1b[0m plain\naside\n1\n")
    assert (tmp_path / "log").read_text().endswith("1000\nlast\n")


def test_line_is_shown_as_soon_as_it_is_written(server: Service, agent: Client, tab: NewTab) -> None:
    run_id = agent.start("echo ready; for i in $(seq 40); do date +at=%s%3N; sleep 0.05; done")
    page = tab(server).open(f"#/run/{run_id}")
    page.evaluate("""() => {
        window.seen = [];
        const look = (row) => {
            const at = /at=([0-9]+)/.exec(row.textContent);
            if (at) window.seen.push(Date.now() - Number(at[1]));
        };
        new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(look)))
            .observe(document.querySelector(".output"), {subtree: true, childList: true});
    }""")
    expect(page.locator(".why")).to_have_text("Ended with exit code 0.")
    seen = sorted(page.evaluate("window.seen"))
    assert len(seen) >= 10
    assert seen[len(seen) // 4] < SHOWN_MS, f"{seen}; a quarter is asked for, as other things run beside this"


def test_command_runs_and_is_followed_as_long_as_the_page_is_there(
    guarded: Service, callers: Callers, alice: Client, tab: NewTab, tmp_path: Path
) -> None:
    def seconds() -> float:
        """How long it runs."""
        [run] = [run for run in alice.http.get("/runs").json()["runs"] if "echo begun" in run["command"]]
        assert run["status"] == "running"
        return (datetime.now(UTC) - datetime.fromisoformat(run["started"])).total_seconds()

    page = tab(guarded).open(token=callers.tokens["alice"])
    page.keyboard.press("n")
    expect(page.locator(".warning")).to_contain_text("cannot hold a command to reading")
    page.get_by_label("Command").fill(f"echo begun; until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo over")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".line", has_text="begun")).to_be_visible()
    expect(page.locator("main")).to_contain_text("it ends soon after this tab is closed")
    page.keyboard.press("Escape")  # the run goes on although nobody looks at it
    row = page.get_by_role("row").filter(has_text="echo begun")
    expect(row).to_contain_text("running")
    wait_for(lambda: seconds() > 5, what="more than twice the resume window")
    (tmp_path / "go").touch()
    expect(row).to_contain_text("done")
    row.get_by_role("link").click()
    expect(page.locator(".line", has_text="over")).to_be_visible()
    page.goto(f"{guarded.url}/#/new")
    page.get_by_label("Timeout").evaluate("field => { field.removeAttribute('max'); field.value = 99999; }")
    page.get_by_label("Command").fill("true")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("must be at most 600")


def test_an_answer_that_is_lost_is_asked_for_again_and_the_command_runs_once(
    server: Service, agent: Client, tab: NewTab, tmp_path: Path
) -> None:
    assert agent.http.get("/clusters").json()["clusters"]
    page = tab(server).open("#/new")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().text())
            route.abort("connectionreset")

    page.route("**/sse", lose)
    page.get_by_label("Command").fill(f"echo once >> {tmp_path}/ran")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".why")).to_have_text("Ended with exit code 0.")
    assert (tmp_path / "ran").read_text() == "once\n"


def test_cluster_is_stored_used_by_clients_and_removed(server: Service, tab: NewTab) -> None:
    page = tab(server).open("#/clusters")
    page.get_by_label("Name").fill("from-a-file")
    page.get_by_label("Kubeconfig file").set_input_files(
        {"name": "config", "mimeType": "text/plain", "buffer": fake().encode()}
    )
    page.get_by_label("Keep it for").select_option("7 days")
    page.get_by_role("button", name="Store").click()
    row = page.get_by_role("row").filter(has_text="from-a-file")
    expect(row).to_contain_text("https://192.0.2.1:6443")
    expect(row).to_contain_text("in 7 d")
    page.get_by_label("Name").fill("not-one")
    page.get_by_label("Or its content").fill("nonsense")
    page.get_by_role("button", name="Store").click()
    expect(page.locator(".problem")).to_contain_text("kubeconfig")
    for client, text in {
        "Claude Desktop": '"type": "sse"',
        "Claude Code": f"claude mcp add --transport http kubernetes {server.url}/mcp",
        "Cursor": '"mcpServers"',
        "VS Code": '"servers"',
        "curl": f"curl -N {server.url}/sse",
    }.items():
        page.get_by_role("button", name=client).click()
        expect(page.get_by_label("Connect a client")).to_contain_text(text)
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_observer_sees_everybodys_runs_and_reads_only_what_they_may(
    guarded: Service, callers: Callers, alice: Client, tab: NewTab
) -> None:
    run_id = alice.run("echo of alice")
    page = tab(guarded).open(token=callers.tokens["olivia"])
    page.get_by_label("Caller").select_option("alice")
    page.get_by_role("link", name="echo of alice").click()
    expect(page.locator(".line", has_text="of alice")).to_be_visible()
    expect(page.locator("dl")).to_contain_text("alice")
    page = tab(guarded).open(token=callers.tokens["looker"])
    expect(page.get_by_role("row").filter(has_text="command not known here").first).to_contain_text("alice")
    page.goto(f"{guarded.url}/#/run/{run_id}")
    expect(page.locator("main")).to_contain_text("You may see that this run is there, and not read it.")
    expect(page.get_by_role("button", name="End the run")).to_be_hidden()
    assert "of alice" not in page.content()
    page.goto(f"{guarded.url}/#/me")
    expect(page.locator("main")).to_contain_text("kubeconfigs of your own")


def test_page_says_when_the_service_is_away_and_goes_on(server: Service, agent: Client, tab: NewTab) -> None:
    here = tab(server)
    run_id = agent.start("for i in $(seq 100); do echo line $i; sleep 0.05; done")
    page = here.open(f"#/run/{run_id}")
    expect(page.locator(".line", has_text="line 3").first).to_be_visible()
    here.context.set_offline(True)
    page.goto(f"{server.url}/#/")
    expect(page.locator(".banner")).to_contain_text("does not answer")
    here.context.set_offline(False)
    expect(page.locator(".banner")).to_be_hidden()
    page.goto(f"{server.url}/#/run/{run_id}")
    expect(page.locator(".line", has_text=re.compile("line 100$"))).to_be_visible()
    assert page.locator(".line.note").count() == 0


def test_service_that_was_killed_is_a_pause_and_its_runs_are_not_left_running(
    serve: StartService, tab: NewTab
) -> None:
    first = serve()
    agent = Client(first.url)
    agent.store()
    agent.run("echo over before")
    body = {"command": "echo lost; sleep 60", "cluster": "prod"}
    with agent.http.stream("POST", "/sse", json=body) as stream:
        assert "started" in next(stream.iter_text())
        page = tab(first).open()
        expect(page.get_by_role("row").filter(has_text="echo lost")).to_contain_text("running")
        first.kill()
    expect(page.locator(".banner")).to_contain_text("does not answer")
    second = serve(port=urlsplit(first.url).port)
    agent.store()
    expect(page.locator(".banner")).to_be_hidden()
    expect(page.get_by_role("row").filter(has_text="echo lost")).to_contain_text("ended")
    expect(page.get_by_role("row").filter(has_text="over before")).to_contain_text("done")
    agent.run("echo new")
    expect(page.get_by_role("row").filter(has_text="echo new")).to_contain_text("done")
    assert second.url == first.url
    agent.close()


def test_page_speaks_chinese_and_keeps_its_theme(server: Service, tab: NewTab) -> None:
    page = tab(server, locale="zh-CN").open()
    expect(page.get_by_role("heading", name="运行")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh"
    dark = "matchMedia('(prefers-color-scheme: dark)').matches"
    assert not page.evaluate(dark)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="浅色或深色").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_both_languages_have_all_words() -> None:
    source = (Path(__file__).parents[3] / "src/k8s_mcp/web/page/words.js").read_text()
    english, chinese = (
        dict(re.findall(r'^ {2}"([^"]+)":\s*"([^"]+)"', part, re.MULTILINE))
        for part in source.partition("const KEY")[0].split("const CHINESE")
    )
    same = {"api", "id"}
    assert english.keys() - chinese.keys() == same
    assert chinese.keys() <= english.keys()
    for key, text in chinese.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[key])), key
    pages = "".join(
        file.read_text() for file in Path(source and __file__).parents[3].glob("src/k8s_mcp/web/page/*.js")
    )
    for key in re.findall(r'\bt\("([^"]+)"', pages):
        assert key in english, key


def test_two_hundred_runs_of_a_minute_are_all_right_at_the_end(server: Service, agent: Client, tab: NewTab) -> None:
    page = tab(server).open()
    for one in range(200):
        agent.start(f"echo run {one}; exit {one % 3}")
    page.get_by_label("Search: command").fill("echo run ")
    for status, count in (("ok", 67), ("failed", 133), ("going", 0)):
        page.get_by_label("Status").select_option(status)
        if count:
            expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", str(count + 1))
        else:
            expect(page.get_by_role("heading", name="No run matches")).to_be_visible()


def test_what_is_the_same_in_the_list_is_left_alone(server: Service, tab: NewTab) -> None:
    """Each second it is asked for, and a running run takes longer: nothing else is made anew."""
    one = {"cluster": "https://192.0.2.1", "handle": "prod", "timeout": 9, "read_only": False, "dry_run": False}
    over = {"status": "done", "exit_code": 0, "ended": "2026-01-01T20:00:10.000Z"}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    runs: list[dict[str, object]] = [
        {**one, **over, "run_id": f"{n:032x}", "command": f"echo {n}", "created": f"2026-01-01T20:00:0{9 - n}.000Z"}
        for n in range(6)
    ]
    runs[5].update(status="running", exit_code=None, created=now, ended=None)
    here = tab(server)
    here.page.route("**/runs?all=true*", lambda route: route.fulfill(json={"all": False, "runs": runs}))
    page = here.open()
    page.get_by_role("link", name="echo 0").focus()
    page.evaluate("""() => {
        window.touched = [];
        new MutationObserver((changes) => changes.forEach(({target}) => {
            const cell = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
            window.touched.push(`${cell.closest(".row")?.querySelector("a")?.textContent ?? "rows"}`);
        })).observe(document.querySelector(".rows"), {subtree: true, childList: true, characterData: true});
    }""")
    wait_for(lambda: len(page.evaluate("window.touched")) >= 4)
    assert set(page.evaluate("window.touched")) == {"echo 5"}
    expect(page.get_by_role("link", name="echo 0")).to_be_focused()
    runs[5].update(status="done", exit_code=3, ended=now)
    expect(page.get_by_role("row").filter(has_text="echo 5")).to_contain_text("exit 3")
    runs.append({**runs[0], "run_id": f"{9:032x}", "command": "echo 9", "created": "2026-01-01T21:00:00.000Z"})
    expect(page.locator(".row .command")).to_have_text(["Command", *(f"echo {n}" for n in (5, 9, 0, 1, 2, 3, 4))])
    expect(page.get_by_role("link", name="echo 0")).to_be_focused()
    page.get_by_label("Search: command").fill("echo 9")
    expect(page.locator(".row .command")).to_have_text(["Command", "echo 9"])


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_runs_stay_fluid(server: Service, tab: NewTab, count: int) -> None:
    here = tab(server)
    one = {"status": "done", "exit_code": 0, "cluster": "https://192.0.2.1", "handle": "prod", "timeout": 9}
    rest = {"started": None, "ended": "2026-11-29T20:00:00.000Z", "read_only": False, "dry_run": False, "lines": 1}
    at = "2026-11-29T{:02}:{:02}:{:02}.000Z"
    runs = [
        {**one, **rest, "run_id": f"{n:032x}", "command": f"kubectl get pod {n}", "created": created}
        for n in range(count)
        for created in [at.format(n // 3600, n // 60 % 60, n % 60)]
    ]
    body = json.dumps({"all": False, "runs": runs})
    here.page.route("**/runs?all=true*", lambda route: route.fulfill(body=body, content_type="application/json"))
    page = here.open()
    expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", str(count + 1))
    assert here.elements() < 1500
    seconds = here.work("""async () => {
        const rows = document.querySelector(".rows");
        for (let n = 1; n <= 50; n++) {
            rows.scrollTop = (rows.scrollHeight * n) / 50;
            await new Promise(requestAnimationFrame);
        }
    }""")
    assert seconds / 50 < 0.05, "of each frame, on a machine without a graphics card"
    expect(page.get_by_role("link", name="kubectl get pod 0", exact=True)).to_be_visible()
    page.get_by_label("Search: command").fill("pod 77")
    expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", "112")


def test_a_million_lines_stay_fluid_within_bounds(server: Service, agent: Client, tab: NewTab) -> None:
    here = tab(server)
    run_id = agent.run("seq 1000000")
    page = here.open(f"#/run/{run_id}")
    expect(page.locator(".line", has_text=re.compile("^1000000 ?1000000$"))).to_be_visible()
    assert here.elements() < 1000
    page.get_by_label("Search in the output").fill("777777")
    expect(page.get_by_text("1 / 1", exact=True)).to_be_visible()
    expect(page.locator(".line.current")).to_contain_text("777777")
    assert here.megabytes() < 150
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("table")).to_be_visible()
    assert here.megabytes() < 50, "what nobody looks at is not kept"
