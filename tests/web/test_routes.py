"""The HTTP front end: what it refuses and how it says so, and the paths for operators."""

import gzip
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.support import kubeconfigs
from tests.support.client import Client
from tests.support.service import Service, StartService, wait_for

Edit = Callable[[dict[str, Any]], object]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The answer as a problem document (RFC 9457), which holds no credential."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert kubeconfigs.credentials_in(response.text) == []
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def fields(document: dict[str, Any]) -> list[str]:
    assert all(error["message"] for error in document["errors"])
    return [error["field"] for error in document["errors"]]


# Bad input


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"command=ls", id="a form"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param('{"command": "ls"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"command": "ls", "timeout": NaN}', id="NaN"),
        pytest.param(b'{"command": "ls", "timeout": -Infinity}', id="infinity"),
        pytest.param(b'{"command": "ls", "command": "rm"}', id="a key twice"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b'{"timeout": ' + b"1" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b'{"command": "a\nb"}', id="a raw line end in a string"),
    ],
)
async def test_malformed_json_is_refused(client: Client, body: bytes) -> None:
    response = await client.http.post("/sse", content=body, headers={"Content-Type": "application/json"})
    problem(response, 400)


@pytest.mark.parametrize("value", [[], "ls", 1, None, True])
async def test_json_that_is_no_object_is_refused(client: Client, value: object) -> None:
    assert fields(problem(await post(client, value), 422)) == ["body"]


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "text/json"])
async def test_only_json_is_read(client: Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    body = json.dumps(client.body("ls")).encode()
    problem(await client.http.post("/sse", content=body, headers=headers), 415)


async def test_compressed_body_is_refused(client: Client) -> None:
    """It could be far larger than it looks."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(client.body("ls")).encode())
    answer = problem(await client.http.post("/sse", content=body, headers=headers), 415)
    assert "Content-Encoding" in answer["detail"]


@pytest.mark.parametrize("path", ["/", "/sse/", "/run", "/runs/", "/messages"])
async def test_unknown_path_says_where_to_look(client: Client, path: str) -> None:
    """And leads nowhere: behind a proxy with TLS a redirect would be to http://, clients repeat the body there."""
    for method in ("GET", "POST"):
        response = await client.http.request(method, path, json=client.body("true") if method == "POST" else None)
        assert "/docs" in problem(response, 404)["detail"]
        assert "location" not in response.headers


async def test_content_type_may_have_parameters(client: Client) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    response = await client.http.post("/sse", content=json.dumps(client.body("true")), headers=headers)
    assert response.status_code == 200


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"command": None}, "command"),
    ({"command": ""}, "command"),
    ({"command": " \t\n"}, "command"),
    ({"command": "ls\0"}, "command"),
    ({"command": 1}, "command"),
    ({"command": True}, "command"),
    ({"command": ["ls"]}, "command"),
    ({"command": {"ls": "ls"}}, "command"),
    ({"command": "x" * 131_072}, "command"),
    ({"command": "漢" * 50_000}, "command"),
    ({"command": "\ud800"}, "command"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": -1}, "timeout"),
    ({"timeout": 1.5}, "timeout"),
    ({"timeout": 1e300}, "timeout"),
    ({"timeout": "5"}, "timeout"),
    ({"timeout": True}, "timeout"),
    ({"timeout": 3601}, "timeout"),
    ({"timeout": 10**400}, "timeout"),
    ({"timeout": [1]}, "timeout"),
    ({"stdin": 5}, "stdin"),
    ({"stdin": "\udfff"}, "stdin"),
    ({"kubeconfig": None}, "body"),
    ({"cluster": "prod"}, "body"),
    ({"kubeconfig": None, "cluster": 5}, "cluster"),
    ({"kubeconfig": None, "cluster": ""}, "cluster"),
    ({"kubeconfig": 5}, "kubeconfig"),
    ({"kubeconfig": ""}, "kubeconfig"),
    ({"kubeconfig": {"kind": "Config"}}, "kubeconfig"),
    ({"kubeconfig": "\ud800"}, "kubeconfig"),
    ({"extra": 1}, "extra"),
    ({"": 1}, "body"),
    ({"Command": "ls"}, "Command"),
    ({"x" * 10_000: 1}, "x" * 100),
    ({"\ud800": 1}, "body"),
    ({"token": kubeconfigs.TOKEN}, "token"),
]


@pytest.mark.parametrize(
    ("changes", "field"),
    WRONG_FIELDS,
    ids=[str(changes)[:40].encode("unicode_escape").decode() for changes, _ in WRONG_FIELDS],
)
async def test_wrong_field_is_named(client: Client, changes: dict[str, Any], field: str) -> None:
    body = {**client.body("ls"), **changes}
    if changes.get("kubeconfig", "") is None:
        del body["kubeconfig"]
    assert fields(problem(await post(client, body), 422)) == [field]


async def test_whole_number_may_be_written_with_a_fraction_of_zero(client: Client) -> None:
    """As JSON Schema has it: 5.0 is an integer."""
    run_id = (await client.run("true", timeout=5.0)).run_id
    assert (await client.state(run_id))["timeout"] == 5


async def post(client: Client, body: object) -> httpx.Response:
    """As JSON that may hold half a surrogate pair, which httpx would not encode."""
    return await client.http.post("/sse", content=json.dumps(body), headers={"Content-Type": "application/json"})


async def test_every_wrong_field_is_named(client: Client) -> None:
    document = problem(await post(client, {"command": "", "timeout": 0, "stdin": 1, "more": 1}), 422)
    assert set(fields(document)) == {"command", "timeout", "stdin", "more"}


def in_first(kind: str, **entries: object) -> Edit:
    """Change the body of the first cluster, user or context."""
    return lambda config: config[f"{kind}s"][0][kind].update(entries)


def at_top(**entries: object) -> Edit:
    return lambda config: config.update(entries)


def without(key: str) -> Edit:
    return lambda config: config.pop(key)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(without("current-context"), id="no current context"),
        pytest.param(at_top(**{"current-context": "other"}), id="unknown current context"),
        pytest.param(at_top(**{"current-context": ["first"]}), id="list as current context"),
        pytest.param(without("contexts"), id="no contexts"),
        pytest.param(without("clusters"), id="no clusters"),
        pytest.param(without("users"), id="no users"),
        pytest.param(at_top(kind="Secret"), id="another kind"),
        pytest.param(at_top(users=5), id="users that are no list"),
        pytest.param(in_first("context", cluster="other"), id="unknown cluster"),
        pytest.param(in_first("context", namespace="../x"), id="a namespace that is none"),
        pytest.param(in_first("cluster", server=""), id="no server"),
        pytest.param(in_first("cluster", server="ftp://192.0.2.1"), id="another protocol"),
        pytest.param(in_first("cluster", server="https://someone:pw@192.0.2.1"), id="a password in the URL"),
        pytest.param(in_first("cluster", server="https://169.254.169.254"), id="metadata address"),
        pytest.param(in_first("cluster", server="https://0xa9fea9fe"), id="metadata address in hex"),
        pytest.param(in_first("cluster", server="https://[fe80::1]"), id="link-local address"),
        pytest.param(in_first("cluster", **{"certificate-authority": "/etc/passwd"}), id="authority in a file"),
        pytest.param(in_first("cluster", **{"insecure-skip-tls-verify": True}), id="no TLS check"),
        pytest.param(in_first("cluster", **{"proxy-url": "http://192.0.2.9"}), id="a proxy"),
        pytest.param(in_first("user", token=5), id="a token that is a number"),
        pytest.param(in_first("user", tokenFile="/etc/passwd"), id="token in a file"),
        pytest.param(in_first("user", **{"client-key": "/etc/passwd"}), id="key in a file"),
        pytest.param(in_first("user", **{"client-key-data": "marker"}), id="a key that is no PEM"),
        pytest.param(in_first("user", **{"auth-provider": {"name": "gcp"}}), id="auth provider"),
        pytest.param(in_first("user", exec={"command": "sh", "args": ["-c", "id"]}), id="credential plugin"),
        pytest.param(in_first("user", username="a", password=kubeconfigs.PASSWORD), id="token and password"),
    ],
)
async def test_kubeconfig_that_cannot_be_used_is_refused(client: Client, edit: Edit) -> None:
    config = yaml.safe_load(client.kubeconfig)
    edit(config)
    response = await post(client, client.body("ls", kubeconfig=yaml.safe_dump(config)))
    assert fields(problem(response, 422)) == ["kubeconfig"]


ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 20)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(kubeconfigs.fake()[:-40], id="cut off"),
        pytest.param(f"token: {kubeconfigs.TOKEN}: {kubeconfigs.TOKEN}", id="not YAML"),
        pytest.param(kubeconfigs.TOKEN, id="text"),
        pytest.param(f"- {kubeconfigs.TOKEN}", id="a list"),
        pytest.param("null", id="null"),
        pytest.param(" ", id="blank"),
        pytest.param("\t{", id="a tab"),
        pytest.param("a: b\0", id="NUL"),
        pytest.param("kind: Config\n---\nkind: Config\n", id="two documents"),
        pytest.param(ALIAS_BOMB, id="alias bomb"),
        pytest.param(ALIAS_BOMB + "kind: Config\ncurrent-context: *a19\n", id="alias bomb as context"),
        pytest.param("!!python/object/apply:os.system ['touch /tmp/pwned']", id="a Python object"),
        pytest.param("[" * 10_000, id="deep"),
        pytest.param("- " * 10_000, id="deep list"),
        pytest.param("? " * 10_000, id="deep keys"),
        pytest.param("a: 1\n" * 10_000, id="a key many times"),
        pytest.param("{" + ",".join(f"a{n}: b" for n in range(30_000)) + "}", id="many keys"),
        pytest.param("#" * (512 * 1024 + 1), id="too long"),
        pytest.param("漢" * (200 * 1024), id="too long in UTF-8"),
        pytest.param(kubeconfigs.fake() + " " * 512 * 1024, id="a good one, too long"),
    ],
)
async def test_what_is_no_kubeconfig_is_refused(client: Client, text: str) -> None:
    began = time.monotonic()
    response = await post(client, client.body("ls", kubeconfig=text))
    assert fields(problem(response, 422)) == ["kubeconfig"]
    assert time.monotonic() - began < 5


async def test_unknown_cluster_is_not_found(client: Client) -> None:
    problem(await post(client, {"command": "ls", "cluster": "nowhere"}), 404)


async def test_command_kubeconfig_and_stdin_together_are_bounded(client: Client) -> None:
    problem(await post(client, client.body("cat", stdin="x" * 900 * 1024)), 413)


# Bodies that are too large or too slow


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


HEAD = b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def read_problem(connection: socket.socket, status: int) -> None:
    """Read to the end of the connection, which the service must close."""
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["status"] == status


def test_body_that_is_declared_too_large_is_refused_before_it_comes(server: Service) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1 << 30))
        read_problem(connection, 413)


def test_body_of_unknown_length_is_refused_once_it_is_too_large(server: Service) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 1 << 30:
                connection.sendall(chunk)
                sent += 0x10000
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 32 << 20


def test_body_of_unknown_length_gets_its_answer(server: Service) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%b\r\n" % (3 << 20, b" " * (3 << 20)))
        read_problem(connection, 413)


# Paths and methods


async def test_unknown_path_is_a_problem(client: Client) -> None:
    for path in ("/", "/nope", "/sse/x", "/%00", "//", "/docs/../../etc/passwd"):
        problem(await client.http.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/sse"), ("POST", "/runs"), ("PATCH", "/healthz"), ("POST", "/version")]
)
async def test_wrong_method_is_a_problem(client: Client, method: str, path: str) -> None:
    response = await client.http.request(method, path)
    problem(response, 405)
    assert response.headers["allow"]


RUN_PATHS = [("GET", "/runs/{}"), ("DELETE", "/runs/{}"), ("GET", "/runs/{}/events")]


@pytest.mark.parametrize(("method", "path"), RUN_PATHS)
async def test_unknown_run_is_not_found(client: Client, method: str, path: str) -> None:
    problem(await client.http.request(method, path.format("0" * 32)), 404)


@pytest.mark.parametrize(("method", "path"), RUN_PATHS)
@pytest.mark.parametrize(
    "run_id", ["1", "x" * 32, "0" * 33, "0" * 31 + "%0a", "A" * 32, "%00", "../../etc", "%2e%2e"]
)
async def test_run_id_of_another_form_is_not_found(client: Client, method: str, path: str, run_id: str) -> None:
    """Like any run that is not there."""
    document = problem(await client.http.request(method, path.format(run_id)), 404)
    if "%2e" not in run_id and "/" not in run_id:
        assert document == (await client.http.get(f"/runs/{'0' * 32}")).json()


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "", "0x10", "1e3", "1_0", "٣", "+1", "1, 2"])
async def test_last_event_id_that_is_no_number_is_refused(client: Client, value: str) -> None:
    run_id = (await client.run("true")).run_id
    headers = {b"Last-Event-ID": value.encode()}
    response = await client.http.get(f"/runs/{run_id}/events", headers=headers)
    assert fields(problem(response, 422)) == ["Last-Event-ID"]


@pytest.mark.parametrize("value", ["", "x" * 256])
async def test_idempotency_key_is_bounded(client: Client, value: str) -> None:
    response = await client.http.post("/sse", json=client.body("ls"), headers={"Idempotency-Key": value})
    assert fields(problem(response, 422)) == ["Idempotency-Key"]


async def test_runs_are_listed_oldest_first(client: Client) -> None:
    run_ids = [(await client.run(f"exit {number}")).run_id for number in range(3)]
    runs = (await client.http.get("/runs")).json()["runs"]
    assert [run["run_id"] for run in runs if run["run_id"] in run_ids] == run_ids
    assert [run["exit_code"] for run in runs if run["run_id"] in run_ids] == [0, 1, 2]
    assert kubeconfigs.credentials_in(json.dumps(runs)) == []


async def test_operations(client: Client) -> None:
    assert (await client.http.get("/healthz")).json() == {"status": "ok"}
    assert (await client.http.get("/readyz")).json() == {"status": "ready"}
    version = (await client.http.get("/version")).json()
    assert version["name"] == "k8s-mcp-server"
    assert version["executor"] == "local"
    assert version["resume_window"] >= 0
    assert version["version"]
    docs = await client.http.get("/docs")
    assert docs.status_code == 200
    assert docs.headers["content-type"].startswith("text/html")
    document = (await client.http.get("/openapi.json")).json()
    assert {"/sse", "/runs", "/runs/{run_id}", "/runs/{run_id}/events"} <= document["paths"].keys()


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/version", "/runs", "/clusters", "/docs", "/openapi.json", "/nope", "/runs/1"]
)
async def test_head_is_get_without_its_body(client: Client, path: str) -> None:
    got = await client.http.get(path)
    response = await client.http.head(path)
    assert response.status_code == got.status_code
    assert response.content == b""
    assert response.headers["content-length"] == got.headers["content-length"]
    assert response.headers["content-type"] == got.headers["content-type"]


async def test_head_is_for_whatever_has_get(client: Client) -> None:
    paths = (await client.http.get("/openapi.json")).json()["paths"]
    for path in [path for path, methods in paths.items() if "get" in methods]:
        real = path.replace("{run_id}", "0" * 32).replace("{name}", "none")
        assert (await client.http.head(real)).status_code in {200, 404}, path
        assert "HEAD" in (await client.http.patch(real)).headers["allow"], path


async def test_head_of_a_stream_ends_at_once(client: Client) -> None:
    """And takes nothing from the run: it is followed by nobody then."""
    async with client.stream("echo one; sleep 600") as stream:
        await stream.first("stdout")
        run_id = stream.seen[0].control["run_id"]
        response = await client.http.head(f"/runs/{run_id}/events")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (await client.state(run_id))["status"] == "running"
        await client.cancel(run_id)
        await stream.to_end()
    response = await client.http.head("/sse")  # a session of MCP's older transport: over again at once
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_stream_may_not_be_stored_or_buffered(client: Client) -> None:
    async with client.stream("true") as stream:
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"
        await stream.to_end()


# Browsers

EVERY_PATH = [
    ("POST", "/sse"),
    ("GET", "/sse"),
    ("GET", "/runs"),
    ("DELETE", f"/runs/{'0' * 32}"),
    ("GET", f"/runs/{'0' * 32}/events"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/openapi.json"),
    ("GET", "/nope"),
    ("OPTIONS", "/sse"),
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("POST", "/messages/"),
    ("PUT", "/clusters/x"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_PATH)
async def test_web_pages_are_refused_on_every_path(client: Client, method: str, path: str) -> None:
    """Those on other ports of this machine and under its other names, too."""
    port = client.http.base_url.port
    for origin in (
        *("https://evil.example", "null", "", "http://localhost", "http://127.0.0.1", f"http://localhost:{port}"),
        *(f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}0", "file://"),
        *(f"http://127.0.0.1:{port} https://evil.example", f"http://a@127.0.0.1:{port}", "http://[::1]"),
    ):
        problem(await client.http.request(method, path, headers={"Origin": origin}), 403)


async def test_the_services_own_address_is_no_stranger(client: Client) -> None:
    """A page that the service itself has sent: same scheme, host and port (RFC 6454, section 5)."""
    for host, origin in (
        (client.http.base_url.netloc.decode(), str(client.http.base_url).rstrip("/")),
        ("localhost:9096", "http://localhost:9096"),
        ("LocalHost:80", "http://localhost"),
        ("localhost", "http://localhost"),
        ("[::1]:9096", "http://[::1]:9096"),
    ):
        headers = {"Host": host, "Origin": origin}
        assert (await client.http.get("/healthz", headers=headers)).status_code == 200


async def test_own_address_of_a_name_that_is_not_served_is_a_stranger(client: Client) -> None:
    """DNS rebinding: the attacker's page has its own name as `Origin` and as `Host`."""
    headers = {"Host": "evil.example:9096", "Origin": "http://evil.example:9096"}
    problem(await client.http.get("/healthz", headers=headers), 403)


def test_of_two_origins_both_have_to_be_allowed(server: Service) -> None:
    own = server.url.encode()
    for origins in ((own, b"https://evil.example"), (b"https://evil.example", own)):
        lines = b"".join(b"Origin: %b\r\n" % origin for origin in origins)
        with connect(server) as connection:
            host = own.removeprefix(b"http://")
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (host, lines))
            assert connection.recv(65536).split()[1] == b"403"


async def test_own_address_behind_tls_is_that_of_the_public_url_or_what_a_trusted_proxy_says(
    serve: StartService, fake_kubeconfig: str
) -> None:
    public = serve(public_url="https://K8s.example.com:443/mcp", allowed_hosts="k8s.example.com")
    trusting = serve(trusted_proxies="127.0.0.1", allowed_hosts="k8s.example.com")
    neither = serve(allowed_hosts="k8s.example.com")
    headers = {"Host": "k8s.example.com", "Origin": "https://k8s.example.com", "X-Forwarded-Proto": "https"}
    for service, status in ((public, 200), (trusting, 200), (neither, 403)):
        async with Client(service.url, fake_kubeconfig) as client:
            assert (await client.http.get("/healthz", headers=headers)).status_code == status
            plain = headers | {"Origin": "http://k8s.example.com"}
            expected = 200 if service is neither else 403  # for that one speaks http, as far as it knows
            assert (await client.http.get("/healthz", headers=plain)).status_code == expected


@pytest.mark.parametrize(("method", "path"), EVERY_PATH)
async def test_other_host_names_are_refused_on_every_path(client: Client, method: str, path: str) -> None:
    names = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9096", "127.0.0.2", "local%68ost", "")
    for host in names:
        problem(await client.http.request(method, path, headers={"Host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9096", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9096"])
async def test_local_host_names_are_served(client: Client, host: str) -> None:
    assert (await client.http.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "hosts",
    [
        *([], [b"localhost", b"evil.example"], [b"localhost", b"localhost"], [b"localhost, evil.example"]),
        *([b"evil.example:9096@127.0.0.1"], [b"evil.example@127.0.0.1:9096"], [b"127.0.0.1:abc"], [b"127.0.0.1:-1"]),
        *([b"127.0.0.1:65536"], [b"127.0.0.1:80:80"], [b"127.0.0.1/"], [b"127.0.0.1#"], [b"127.0.0.1?x"], [b"["]),
        *(
            [b"http://127.0.0.1"],
            [b"::1"],
            [b"[::1"],
            [b"[::1]x"],
            [b"[1.2.3]"],
            [b"[:::]"],
            [b"[::1%25lo]"],
            [b"a b"],
            [b"l\xf6calhost"],
        ),
        *([b"127.0.0.1\\@evil.example"], [b"localhost\x00"], [b"\xef\xbc\x91"]),
    ],
    ids=repr,
)
def test_host_that_is_none_is_malformed(server: Service, hosts: list[bytes]) -> None:
    """RFC 9112, section 3.2. With a user name in it, it would be read as two hosts."""
    lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
        assert connection.recv(65536).split()[1] == b"400"


async def test_hosts_and_origins_can_be_allowed(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(allowed_hosts="k8s.example.com,10.0.0.1", allowed_origins="https://Console.example.com/")
    async with Client(service.url, fake_kubeconfig) as client:
        for host in ("K8s.example.com", "k8s.example.com:443", "10.0.0.1:80", "localhost"):
            headers = {"Host": host, "Origin": "https://console.example.com"}
            assert (await client.http.get("/healthz", headers=headers)).status_code == 200
        for origin in ("http://console.example.com", "https://console.example.com:444", "https://example.com"):
            problem(await client.http.get("/healthz", headers={"Origin": origin}), 403)
        problem(await client.http.get("/healthz", headers={"Host": "other.example.com"}), 403)


async def test_ipv6(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(host="::1")
    assert service.url.startswith("http://[::1]:")
    async with Client(service.url, fake_kubeconfig) as client:
        assert (await client.run("echo six")).stdout == ["six"]


# Bounds


async def test_most_runs_at_a_time(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(max_runs=2, grace_period=1)
    async with (
        Client(service.url, fake_kubeconfig) as client,
        client.stream("echo one; sleep 99", key="one") as one,
        client.stream("sleep 99") as two,
    ):
        await one.first("stdout")
        await two.first("control")
        response = await post(client, client.body("echo three"))
        problem(response, 429)
        assert int(response.headers["retry-after"]) > 0
        async with client.stream("echo one; sleep 99", key="one") as joined:  # takes no slot
            await joined.first("stdout")
        for run in (await client.http.get("/runs")).json()["runs"]:
            await client.cancel(run["run_id"])
        await one.to_end()
        await two.to_end()
        assert (await client.run("echo three")).stdout == ["three"]


async def test_finished_run_is_forgotten_after_a_while(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(replay_seconds=1)
    async with Client(service.url, fake_kubeconfig) as client:
        first = await client.run("echo one", key="key")
        assert (await client.replay(first.run_id)).events == first.events
        wait_for(lambda: service.get(f"/runs/{first.run_id}").status_code == 404)
        problem(await client.http.get(f"/runs/{first.run_id}/events"), 404)
        assert (await client.http.get("/runs")).json() == {"runs": []}
        assert (await client.run("echo two", key="key")).stdout == ["two"]


async def test_replay_memory_of_all_runs_is_bounded(serve: StartService, fake_kubeconfig: str) -> None:
    """The oldest finished runs are forgotten first."""
    service = serve(replay_total_bytes=3 << 20)
    async with Client(service.url, fake_kubeconfig) as client:
        megabyte = f"yes {'x' * 999} | head -1000"
        seen = [await client.run(f"echo {number}; {megabyte}") for number in range(5)]
        runs = (await client.http.get("/runs")).json()["runs"]
        kept = [run["run_id"] for run in runs]
        assert kept == [each.run_id for each in seen][-len(kept) :]
        assert 1 <= len(kept) <= 3
        assert (await client.replay(kept[-1])).events == seen[-1].events


async def test_replay_of_more_than_is_kept_begins_with_a_gap(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(replay_bytes=1 << 20)
    async with Client(service.url, fake_kubeconfig) as client:
        live = await client.run("seq 500000")
        assert len(live.stdout) == 500_000
        again = await client.replay(live.run_id)
        gap, *rest = again.numbered
        assert gap.control == {"status": "gap", "stream": "stdout", "missing": gap.id}
        assert rest == live.numbered[-len(rest) :]
        assert len(rest) + (gap.id or 0) == len(live.numbered)
        assert again.final == live.final


async def test_credentials_are_never_logged(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(log_level="debug")
    call = {"name": "kubectl", "arguments": {"command": "true", "kubeconfig": fake_kubeconfig}}
    async with Client(service.url, fake_kubeconfig) as client:
        await client.run("cat $KUBECONFIG; echo marker-command; exit 3")
        await post(client, client.body("ls", kubeconfig=fake_kubeconfig[:-40]))
        await post(client, client.body("ls", timeout="x"))
        headers = {"Accept": "application/json, text/event-stream"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        await client.http.post("/mcp", json=message, headers=headers)
        await client.http.post("/sse", json=message, headers=headers)
    service.stop()
    log = service.log.read_text()
    assert "DEBUG" in log
    assert kubeconfigs.credentials_in(log) == []
    assert "marker-command" not in log
