import base64
import json
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.kubeconfig import Cluster, Context, Exec, Kubeconfig, User, flatten, parse
from k8s_mcp.limits import KUBECONFIG_BYTES
from tests.support.kubeconfig_trees import (
    AWKWARD,
    CA,
    CERTIFICATE,
    EVERYTHING,
    EXEC,
    KEY,
    NOTHING,
    SECRET,
    Tree,
    b64,
    read,
    refusal,
    tree,
    written,
)

FULL = tree(
    user={"client-certificate-data": CERTIFICATE, "client-key-data": KEY, "as": "jane", "as-uid": "7",
          "as-groups": ["a", "b"], "as-user-extra": {"example.com/why": ["x", ""]}},
    cluster={"certificate-authority-data": CA, "tls-server-name": "api.example.com", "disable-compression": True},
    context={"namespace": "team-a"},
    preferences={"colors": True},
    extensions=[{"name": "x", "extension": {"a": [1, 2.5, None]}}],
)  # fmt: skip


def test_a_kubeconfig_is_kept_as_its_checked_fields() -> None:
    config = read(FULL)
    assert config == Kubeconfig(
        current_context="dev",
        contexts=(Context("dev", "kind", "admin", "team-a"),),
        clusters=(
            Cluster(
                "kind",
                "https://10.0.0.1:6443",
                certificate_authority_data=CA,
                tls_server_name="api.example.com",
                disable_compression=True,
            ),
        ),
        users=(
            User(
                "admin",
                client_certificate_data=CERTIFICATE,
                client_key_data=KEY,
                token=f"{SECRET}-token",
                impersonate="jane",
                impersonate_uid="7",
                impersonate_groups=("a", "b"),
                impersonate_extra=(("example.com/why", ("x", "")),),
            ),
        ),
    )
    assert config.server == "https://10.0.0.1:6443"
    assert config.secrets() == (f"{SECRET}-token", KEY)


def test_what_kubectl_ignores_is_dropped() -> None:
    noisy = tree(user={"colour": "red"}, cluster={"extensions": [{"name": "x"}]}, context={"x": 1}, more={"y": [2]})
    assert read(noisy) == read(tree())
    assert "preferences" not in read(FULL).dump()


def test_the_dump_is_json_that_people_can_read() -> None:
    dump = read(tree(context={"namespace": "on"})).dump()
    assert json.loads(dump) == tree(context={"namespace": "on"})
    assert dump.startswith(
        '{\n "apiVersion": "v1",\n "kind": "Config",\n "current-context": "dev",\n "contexts": [\n'
    )
    assert f'    "token": "{SECRET}-token"\n' in dump


@pytest.mark.parametrize(
    "name", ["arn:aws:eks:eu-west-1:1:cluster/x", "東京 🗼", "a'b\"c\\d", "yes", "1e3", "- #", "~"]
)
def test_entries_may_have_any_name_on_one_line(name: str) -> None:
    config = read(tree(context={"cluster": name}, clusters=[{"name": name, "cluster": {"server": "https://a"}}]))
    assert config.cluster_of("dev").name == name
    assert parse(config.dump(), NOTHING) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a mapping"),
        ("- a", "not a mapping"),
        ("just text", "not a mapping"),
        ("a: [", "not valid YAML"),
        ("x: " + "y" * 600_000, "over 512 KiB.*--minify --flatten"),
        ("x: " + "ü" * 300_000, "over 512 KiB"),
        (written(tree(user={"token": "?"})).replace('"?"', "'" + '"' * 500_000 + "'"), "over 512 KiB"),
        ("a: &a [x]\nb: [*a, *a]", "anchor"),
        ("kind: Pod\napiVersion: v1", "kind: Config"),
        ("kind: Config\napiVersion: v2", "apiVersion: v1"),
        ("kind: Config", r"current-context is missing; name one of the contexts \(there are none\)"),
    ],
)
def test_text_that_is_no_kubeconfig_is_refused(text: str, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        parse(text, NOTHING)


NAMED = {"name": "a", "context": {"cluster": "kind"}}
UNUSABLE: list[tuple[Tree, str]] = [
    ({"current-context": None}, r"current-context is missing; name one of the contexts \('dev'\)"),
    ({"current-context": "prod"}, r"current-context 'prod' does not exist; name one of the contexts \('dev'\)"),
    ({"current-context": 5}, "current-context must be text, not a number; put it in quotes"),
    ({"current-context": "a\nb"}, "current-context has a line end or another control character"),
    ({"contexts": None}, "current-context 'dev' does not exist"),
    ({"contexts": {}}, "contexts must be a list, not a mapping"),
    ({"contexts": ["a"]}, r"contexts\[0\] must be a mapping, not text"),
    ({"contexts": [{"context": {}}]}, r"contexts\[0\].name must have 1 to 512 characters"),
    ({"contexts": [{**NAMED, "name": "a" * 513}]}, r"contexts\[0\].name must have 1 to 512"),
    ({"contexts": [NAMED, NAMED]}, r"contexts\[1\].name 'a' is another entry's name already"),
    ({"contexts": [{**NAMED, "name": str(n)} for n in range(9)]}, "contexts has 9 entries, more than 8;.*--minify"),
    ({"clusters": []}, r"contexts\[0\].context.cluster \(of 'dev'\) 'kind' does not exist"),
    ({"users": []}, r"contexts\[0\].context.user \(of 'dev'\) 'admin' does not exist"),
    ({"users": [{"name": "admin", "user": []}]}, r"users\[0\].user must be a mapping, not a list"),
]


@pytest.mark.parametrize(("top", "message"), UNUSABLE)
def test_structure_that_kubectl_could_not_use_is_refused(top: Tree, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        read(tree(**top))


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"namespace": "Team"}, r"contexts\[0\].context.namespace \(of 'dev'\) is no namespace's name"),
        ({"namespace": "a/../b"}, "is no namespace's name"),
        ({"namespace": "a" * 64}, "is no namespace's name"),
        ({"cluster": None}, r"contexts\[0\].context.cluster \(of 'dev'\) '' does not exist"),
        ({"user": "x" * 99}, f"'{'x' * 59}…' does not exist"),
        ({"user": "a\u202eb\u200b"}, r"'a\\u202eb\\u200b' does not exist"),
    ],
)
def test_contexts_that_lead_nowhere_are_refused(context: Tree, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        read(tree(context=context))


@pytest.mark.parametrize("user", ["", None])
def test_a_context_needs_no_user_as_for_kubectl(user: str | None) -> None:
    assert read(tree(context={"user": user})).minify("dev").users == ()


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (
            {"exec": EXEC},
            r"users\[0\].user.exec.command \(of 'admin'\) 'aws' is not allowed here.*kubectl create token",
        ),
        ({"exec": {}}, "'' is not allowed here"),
        ({"auth-provider": {"name": "gcp"}}, r"users\[0\].user.auth-provider \(of 'admin'\).*kubectl create token"),
        ({"tokenFile": "/t"}, r"user.tokenFile \(of 'admin'\) names a file; embed its content as token$"),
        ({"client-certificate": "/c"}, "names a file; embed its content as client-certificate-data"),
        ({"client-key": "../k"}, "names a file; embed its content as client-key-data: .*--flatten"),
        ({"client-key-data": "%%%"}, r"user.client-key-data \(of 'admin'\) is not base64"),
        ({"client-key-data": KEY[:-3]}, "client-key-data .* is not base64"),
        ({"client-key-data": CERTIFICATE}, "client-key-data .* is not PEM of the right kind"),
        ({"client-certificate-data": KEY}, "client-certificate-data .* is not PEM of the right kind"),
        ({"client-key-data": KEY}, "client-certificate-data belong together"),
        ({"username": "a", "password": "b"}, "kubectl takes only one"),
        ({"token": 12345}, r"token \(of 'admin'\) must be text, not a number; put it in quotes"),
        ({"token": True}, "must be text, not a truth value"),
        ({"token": ["a"]}, "must be text, not a list"),
        ({"token": "abc\n"}, "has a line end or another control character"),
        ({"token": "a\x7f"}, "control character"),
        ({"as-groups": ["a"]}, "as .* is missing; as-uid, as-groups and as-user-extra need it"),
        ({"as": "a", "as-groups": "b"}, "as-groups .* must be a list, not text"),
        ({"as": "a", "as-groups": [1]}, r"as-groups\[0\] .* must be text, not a number"),
        ({"as": "a", "as-user-extra": {"a b": []}}, "as-user-extra .* has a key"),
        ({"as": "a", "as-user-extra": {"k": [1]}}, r"as-user-extra.\*\[0\] .* must be text"),
    ],
)
def test_credentials_from_outside_the_file_or_unusable_ones_are_refused(user: Tree, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        read(tree(user=user))


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_reference_to_a_file_is_none_as_for_kubectl(empty: str | None) -> None:
    text = written(tree())
    keys = ("tokenFile", "client-key", "client-certificate", "proxy-url", "certificate-authority")
    entry = "".join(f'"{key}": {json.dumps(empty)}, ' for key in keys)
    assert parse(text.replace('"token"', f'{entry}"token"').replace('"server"', f'{entry}"server"'), NOTHING) == read(
        tree()
    )


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"certificate-authority": "/ca"}, r"clusters\[0\].cluster.certificate-authority \(of 'kind'\) names a file"),
        ({"certificate-authority-data": "a"}, "certificate-authority-data .* is not base64"),
        ({"certificate-authority-data": b64("x")}, "certificate-authority-data .* is not PEM"),
        ({"proxy-url": "http://proxy:3128"}, r"clusters\[0\].cluster.proxy-url \(of 'kind'\) is not allowed here"),
        ({"insecure-skip-tls-verify": True}, "is not allowed here; use certificate-authority-data"),
        ({"insecure-skip-tls-verify": "true"}, "must be true or false, not text"),
        ({"disable-compression": 1}, "must be true or false, not a number"),
        ({"tls-server-name": "a b"}, "tls-server-name .* is no host's name"),
        ({"server": None}, "server .* is missing; give the API server's URL"),
        ({"server": ""}, "server .* is missing"),
        ({"server": "https://169.254.169.254"}, "server .* 169.254.169.254 is link-local.*send an address"),
        ({"server": "https://localhost:6443"}, "server .* localhost is loopback, which is the runner itself"),
        ({"server": "http://[::ffff:a9fe:a9fe]/"}, "is link-local"),
        ({"server": "https://0xA9FEA9FE"}, "0xa9fea9fe is no IP address in its usual spelling"),
        ({"server": "https://１２７.0.0.1"}, "is neither an ASCII name"),
        ({"server": "https://[fe80::1%25eth0]"}, "is neither an ASCII name"),
    ],
)
def test_clusters_that_reach_outside_the_file_or_into_the_service_are_refused(cluster: Tree, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        read(tree(cluster=cluster))


NO_SCHEME = ["10.0.0.1:6443", "//a", "https:a", "ftp://a", "file:///etc/passwd", "unix:/x", " https://a"]
NO_HOST = [
    "https://",
    "https:///a",
    "https://::1",
    "https://[::1",
    "https://[1.2.3.4]",
    "https://a b",
    "https://a%2eb",
]
NO_PORT = ["https://a:", "https://a:0", "https://a:65536", "https://a:1:2", "https://a:-1", "https://a:1x"]
TOO_MUCH = ["https://a@c", "https://a:b@c", "https://a\\@b", "https://a?b", "https://a/?b", "https://a#b"]
NO_PATH = ["https://a\\b", "https://a/\\", "https://a/b c", "https://a/ü", "https://a "]


@pytest.mark.parametrize("server", [*NO_SCHEME, *NO_HOST, *NO_PORT, *TOO_MUCH, *NO_PATH])
def test_a_server_that_is_no_plain_url_is_refused_without_being_quoted(server: str) -> None:
    error = refusal(written(tree(cluster={"server": server})), EVERYTHING)
    assert error
    assert server not in str(error)


@pytest.mark.parametrize(
    ("server", "kept"),
    [
        ("HTTPS://API.Example.com.:06443/", "https://api.example.com:6443"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("https://[2001:DB8::0:1]:443", "https://[2001:db8::1]:443"),
        ("https://rancher.example/k8s/clusters/c-M%20x/", "https://rancher.example/k8s/clusters/c-M%20x"),
    ],
)
def test_a_server_is_kept_in_one_spelling(server: str, kept: str) -> None:
    config = read(tree(cluster={"server": server}))
    assert config.server == kept
    assert parse(config.dump(), NOTHING) == config


def test_hosts_are_all_that_kubectl_may_connect_to() -> None:
    config = read(
        tree(cluster={"server": "https://[2001:db8::1]:443", "proxy-url": "socks5://Proxy:1080"}), EVERYTHING
    )
    assert config.hosts() == ("2001:db8::1", "proxy")


def test_what_the_operator_allows_is_kept() -> None:
    plugin = {
        **EXEC,
        "args": ["a\nb"],
        "env": [{"name": "K", "value": f"{SECRET}\nline"}],
        "provideClusterInfo": True,
    }
    cluster = {"server": "https://127.0.0.1", "proxy-url": "http://proxy:3128", "insecure-skip-tls-verify": True}
    config = read(tree(user={"token": None, "exec": plugin, "password": None}, cluster=cluster), EVERYTHING)
    api_version = "client.authentication.k8s.io/v1"
    assert config.users[0].exec == Exec("aws", api_version, ("a\nb",), (("K", f"{SECRET}\nline"),), "Never", True)  # noqa: FBT003
    assert config.clusters[0].proxy_url == "http://proxy:3128"
    assert config.clusters[0].insecure_skip_tls_verify
    assert f"{SECRET}\nline" in config.secrets()
    assert parse(config.dump(), EVERYTHING) == config


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"exec": {**EXEC, "command": "/tmp/aws"}}, {}),
        ({"exec": {**EXEC, "command": "./aws"}}, {}),
        ({"exec": EXEC}, {}),  # and a token
        ({"token": None, "exec": {**EXEC, "apiVersion": "v1"}}, {}),
        ({"token": None, "exec": {**EXEC, "interactiveMode": "Perhaps"}}, {}),
        ({"token": None, "exec": {**EXEC, "env": [{"name": "", "value": "x"}]}}, {}),
        ({}, {"insecure-skip-tls-verify": True, "certificate-authority-data": CA}),
        ({}, {"proxy-url": "http://user:password@proxy"}),
        ({}, {"proxy-url": "http://169.254.169.254"}),
        ({}, {"server": "https://169.254.169.254"}),
        ({"tokenFile": "/t"}, {}),
    ],
)
def test_some_things_are_refused_whatever_the_operator_allows(user: Tree, cluster: Tree) -> None:
    with pytest.raises(KubeconfigError):
        read(tree(user=user, cluster=cluster), EVERYTHING)


def test_base64_on_several_lines_is_kept_on_one() -> None:
    lines = "\r\n".join(KEY[n : n + 64] for n in range(0, len(KEY), 64)) + "\n"
    config = read(tree(user={"client-key-data": lines, "client-certificate-data": CERTIFICATE}))
    assert config.users[0].client_key_data == KEY


def test_secrets_come_in_every_spelling_that_kubectl_or_cat_print(tmp_path: Path, kubectl: Path) -> None:
    password = "it's <b>&\"\\ s3cr3t"
    config = read(tree(user={"token": None, "username": "u", "password": password}))
    path = tmp_path / "config"
    path.write_text(config.dump())
    shown = [path.read_text()] + [
        run_kubectl(kubectl, "config", "view", "--raw", f"--output={form}", path=path) for form in ("yaml", "json")
    ]
    assert [any(secret in text for secret in config.secrets()) for text in shown] == [True] * 3
    quoting = read(tree(user={"token": None, "username": "u", "password": "'it''s': s3cr3t"}))
    path.write_text(quoting.dump())
    assert any(secret in run_kubectl(kubectl, "config", "view", "--raw", path=path) for secret in quoting.secrets())


TWO = tree(
    contexts=[
        {"name": "dev", "context": {"cluster": "kind", "user": "admin", "namespace": "a"}},
        {"name": "dev as jane", "context": {"cluster": "kind", "user": "jane"}},
        {"name": "other", "context": {"cluster": "other"}},
    ],
    clusters=[
        {"name": "kind", "cluster": {"server": "https://10.0.0.1", "certificate-authority-data": CA}},
        {"name": "other", "cluster": {"server": "https://10.0.0.2"}},
    ],
    users=[
        {"name": "admin", "user": {"client-certificate-data": CERTIFICATE, "client-key-data": KEY}},
        {"name": "jane", "user": {"token": f"{SECRET}-jane", "as": "jane"}},
    ],
)


def test_minify_keeps_one_context_and_what_belongs_to_it() -> None:
    config = read(TWO).minify("dev as jane")
    assert config.current_context == "dev as jane"
    assert [entry.name for entry in (*config.contexts, *config.clusters, *config.users)] == [
        "dev as jane",
        "kind",
        "jane",
    ]
    assert config.secrets() == (f"{SECRET}-jane",)
    with pytest.raises(KubeconfigError, match="has no entry 'none'"):
        read(TWO).minify("none")


def test_without_credentials_every_context_has_its_own_server_and_nothing_secret(
    tmp_path: Path, kubectl: Path
) -> None:
    servers = {
        name: f"http://127.0.0.1:{port}" for port, name in enumerate(["dev", "dev as jane", "other"], start=8001)
    }
    config = read(TWO).without_credentials(servers)
    assert {context.name: config.cluster_of(context.name).server for context in config.contexts} == servers
    assert config.current_context == "dev"
    assert [context.namespace for context in config.contexts] == ["a", "", ""]
    assert config.secrets() == ()
    assert not any(text in config.dump() for text in (SECRET, KEY, CA, CERTIFICATE, "as:"))
    assert parse(config.dump(), EVERYTHING) == config
    (tmp_path / "config").write_text(config.dump())
    names = run_kubectl(kubectl, "config", "get-contexts", "--output=name", path=tmp_path / "config")
    assert sorted(names.splitlines()) == sorted(servers)


def run_kubectl(kubectl: Path, *arguments: str, path: Path) -> str:
    command = [str(kubectl), "--kubeconfig", str(path), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=path.parent).stdout


@pytest.mark.parametrize(
    "values", [FULL, TWO, tree(users=[{"name": name, "user": {"token": name}} for name in [*AWKWARD[1:], "admin"]])]
)
def test_kubectl_reads_the_dump_as_it_reads_the_original(values: Tree, tmp_path: Path, kubectl: Path) -> None:
    def as_kubectl_reads(text: str) -> Tree:
        path = tmp_path / "config"
        path.write_text(text)
        return json.loads(run_kubectl(kubectl, "config", "view", "--raw", "--output=json", path=path))

    dropped = ("preferences", "extensions")
    original = {key: value for key, value in as_kubectl_reads(written(values)).items() if key not in dropped}
    dumped = {key: value for key, value in as_kubectl_reads(read(values).dump()).items() if key not in dropped}
    assert dumped == original


# JSON is YAML but for a few characters: those next to them, and whatever JSON escapes, must reach kubectl as they are
EDGES = (
    "\t\r\n \"'\\/%#:{}[],<>&~\u00a0\u00ad\u200b\u2027\u202a"
    "\ud7ff\ue000\ufefe\ufffd\U00010000\U0001f5fc\U0001fffe\U0010ffff"
)


def test_kubectl_reads_every_character_that_a_kubeconfig_may_have(tmp_path: Path, kubectl: Path) -> None:
    arguments = [*EDGES, EDGES, f"%{EDGES}", "\n%YAML", "\n---\n", "..." * 2000, *AWKWARD]
    plugin = {**EXEC, "args": arguments, "env": [{"name": EDGES[4:], "value": EDGES}]}
    config = read(tree(user={"token": None, "exec": plugin}), EVERYTHING)
    path = tmp_path / "config"
    path.write_text(config.dump())
    seen = json.loads(run_kubectl(kubectl, "config", "view", "--raw", "--output=json", path=path))
    assert seen["users"][0]["user"]["exec"]["args"] == arguments
    assert seen["users"][0]["user"]["exec"]["env"] == plugin["env"]


@pytest.mark.parametrize("character", "\0\b\x1b\x7f\x80\x85\x9f\u2028\u2029\ud800\udfff\ufeff\ufffe\uffff")
def test_characters_that_yaml_takes_for_something_else_are_refused_also_when_escaped(character: str) -> None:
    plugin = {**EXEC, "args": [f"a{character}b"]}
    assert refusal(json.dumps(tree(user={"token": None, "exec": plugin})), EVERYTHING)


# On the user's machine


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[str], bytes]:
    (tmp_path / "pki").mkdir()
    for name, content in {
        "ca.crt": CA,
        "c.crt": CERTIFICATE,
        "c.key": KEY,
        "token": b64(f" {SECRET}-file\n"),
    }.items():
        (tmp_path / "pki" / name).write_bytes(base64.b64decode(content))
    (tmp_path / "pki" / "empty").touch()
    return lambda name: (tmp_path / name).read_bytes()


WITH_FILES = {
    **TWO,
    "clusters": [
        {"name": "kind", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority": "pki/ca.crt"}},
        {"name": "other", "cluster": {"server": "https://10.0.0.2", "certificate-authority": "missing"}},
        {"name": "unused", "cluster": {"server": ""}},
    ],
    "users": [
        {"name": "admin", "user": {"client-certificate": "pki/c.crt", "client-key": "pki/c.key"}},
        {"name": "jane", "user": {"tokenFile": "pki/token", "token": "older"}},
        {"name": "unused", "user": {"exec": EXEC}},
    ],
}


def test_flatten_makes_what_kubectl_makes(tmp_path: Path, kubectl: Path, on_disk: Callable[[str], bytes]) -> None:
    text = written(WITH_FILES)
    (tmp_path / "config").write_text(text)
    arguments = ("config", "view", "--raw", "--minify", "--flatten")
    theirs = run_kubectl(kubectl, *arguments, path=tmp_path / "config")
    assert parse(flatten(text, on_disk), EVERYTHING) == parse(theirs, EVERYTHING)


def test_flatten_embeds_the_token_of_a_token_file(on_disk: Callable[[str], bytes]) -> None:
    config = parse(flatten(written(WITH_FILES), on_disk, "dev as jane"), EVERYTHING)
    assert config.current_context == "dev as jane"
    assert config.secrets() == (f"{SECRET}-file",)


def test_flatten_keeps_all_contexts_if_asked(on_disk: Callable[[str], bytes]) -> None:
    files = written(WITH_FILES).replace("missing", "pki/ca.crt")
    config = parse(flatten(files, on_disk, "other", all_contexts=True), EVERYTHING)
    assert config.current_context == "other"
    assert [context.name for context in config.contexts] == ["dev", "dev as jane", "other"]


def test_flatten_chooses_one_of_thousands_of_contexts(on_disk: Callable[[str], bytes]) -> None:
    names = [f"c{n}" for n in range(2000)]
    cluster = {
        "server": "https://10.0.0.1",
        "certificate-authority-data": CA,
        "tls-server-name": "x" * 200,
        "extensions": [{"x": 1.5}],
    }
    contexts = [{"name": name, "context": {"cluster": name}} for name in names]
    text = written(tree(contexts=contexts, clusters=[{"name": name, "cluster": cluster} for name in names]))
    assert len(text) > KUBECONFIG_BYTES
    assert parse(flatten(text, on_disk, "c400"), NOTHING).contexts == (Context("c400", "c400"),)


@pytest.mark.parametrize(
    ("user", "context", "message"),
    [
        (
            {"exec": EXEC},
            None,
            r"users\[0\].user.exec \(of 'admin'\) needs a program on your machine.*kubectl create token",
        ),
        ({"auth-provider": {"name": "gcp"}}, None, "auth-provider .*`kubectl create token"),
        (
            {"tokenFile": "pki/none"},
            None,
            r"tokenFile \(of 'admin'\) 'pki/none' cannot be read \(No such file or directory\)",
        ),
        ({"tokenFile": "pki/empty"}, None, "'pki/empty' is an empty file"),
        (
            {"client-key": "pki/token", "client-certificate": "pki/c.crt"},
            None,
            "client-key-data .* is not PEM of the right kind",
        ),
        ({}, "none", r"current-context 'none' does not exist; name one of the contexts \('dev'\)"),
    ],
)
def test_flatten_refuses_what_cannot_be_sent(
    user: Tree, context: str | None, message: str, on_disk: Callable[[str], bytes]
) -> None:
    with pytest.raises(KubeconfigError, match=message) as refused:
        flatten(written(tree(user=user)), on_disk, context)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
