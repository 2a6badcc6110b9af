import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.kubeconfig import Cluster, Context, Exec, Kubeconfig, LeftOut, User, described, parse
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
        "env": [{"name": "API_KEY", "value": f"{SECRET}\nline"}],
        "provideClusterInfo": True,
    }
    cluster = {"server": "https://127.0.0.1", "proxy-url": "http://proxy:3128", "insecure-skip-tls-verify": True}
    config = read(tree(user={"token": None, "exec": plugin, "password": None}, cluster=cluster), EVERYTHING)
    api_version = "client.authentication.k8s.io/v1"
    env = (("API_KEY", f"{SECRET}\nline"),)
    assert config.users[0].exec == Exec("aws", api_version, ("a\nb",), env, "Never", True)  # noqa: FBT003
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


OMITTED = "DATA+OMITTED"


@pytest.mark.parametrize(
    ("user", "cluster", "named"),
    [
        ({"token": "REDACTED"}, {}, r"users\[0\].user.token \(of 'admin'\)"),
        ({"token": None, "username": "a", "password": "REDACTED"}, {}, r"users\[0\].user.password \(of 'admin'\)"),
        ({"client-certificate-data": OMITTED, "client-key-data": OMITTED}, {}, "user.client-certificate-data"),
        ({"client-certificate-data": CERTIFICATE, "client-key-data": OMITTED}, {}, "user.client-key-data"),
        (
            {},
            {"certificate-authority-data": OMITTED},
            r"clusters\[0\].cluster.certificate-authority-data \(of 'kind'\)",
        ),
    ],
)
def test_what_kubectl_left_out_is_named_with_the_flag_that_keeps_it(user: Tree, cluster: Tree, named: str) -> None:
    with pytest.raises(KubeconfigError, match=f"{named}.* is left out: .* --raw"):
        read(tree(user=user, cluster=cluster))


def test_what_kubectl_leaves_out_is_known(tmp_path: Path, kubectl: Path) -> None:
    path = tmp_path / "config"
    for user in (
        {"client-certificate-data": CERTIFICATE, "client-key-data": KEY, "token": None},
        {},
        {"token": None, "username": "a", "password": "b"},
    ):
        path.write_text(written(tree(user=user)))
        error = refusal(run_kubectl(kubectl, "config", "view", path=path))
        assert error
        assert "--raw" in error.message


def test_pem_that_was_cut_off_is_named() -> None:
    cut = b64("-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIF")
    with pytest.raises(KubeconfigError, match=r"certificate-authority-data \(of 'kind'\) is cut off"):
        read(tree(cluster={"certificate-authority-data": cut}))


@pytest.mark.parametrize("end", ["---\n", "---", "...\n---\n# no more\n", "---\n---\n"])
def test_a_document_with_nothing_in_it_may_follow(end: str) -> None:
    assert parse(f"---\n{written(tree())}\n{end}", NOTHING) == read(tree())


NO_FIELDS: Tree = {}


def several(*more: tuple[str, Tree, Tree], **top: Any) -> Tree:
    """The context `dev`, and others, each with a cluster and a user of its own."""
    base = tree()
    for name, cluster, user in more:
        base["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
        base["clusters"].append({"name": name, "cluster": {"server": "https://10.0.0.9", **cluster}})
        base["users"].append({"name": name, "user": user})
    return base | top


def test_contexts_that_cannot_be_used_are_left_out_and_named() -> None:
    config = read(
        several(
            ("eks", {}, {"exec": EXEC}),
            ("files", {"certificate-authority": "/ca"}, {}),
            ("open", {"insecure-skip-tls-verify": True}, {}),
            ("omitted", {}, {"token": "REDACTED"}),
            ("metadata", {"server": "https://169.254.169.254"}, {}),
            ("good", {}, {"token": "t"}),
        )
    )
    assert [context.name for context in config.contexts] == ["dev", "good"]
    assert [entry.name for entry in (*config.clusters, *config.users)] == ["kind", "good", "admin", "good"]
    assert [one.context for one in config.left_out] == ["eks", "files", "open", "omitted", "metadata"]
    assert "kubectl create token" in config.left_out[0].why
    assert parse(config.dump(), NOTHING) == config
    assert config.without({"good": "why not"}).left_out[-1] == LeftOut("good", "why not")


def test_a_cluster_or_user_that_does_not_exist_matters_for_its_context_alone() -> None:
    values = several()
    values["contexts"] += [
        {"name": "x", "context": {"cluster": "gone"}},
        {"name": "y", "context": {"cluster": "kind", "user": "z"}},
    ]
    config = read(values)
    assert [one.context for one in config.left_out] == ["x", "y"]
    with pytest.raises(KubeconfigError, match=r"contexts\[1\].context.cluster \(of 'x'\) 'gone' does not exist"):
        read({**values, "current-context": "x"})


def test_of_many_contexts_the_current_one_and_the_first_others_are_kept() -> None:
    many = several(*[(f"c{n}", NO_FIELDS, NO_FIELDS) for n in range(11)], **{"current-context": "c10"})
    config = read(many)
    assert [context.name for context in config.contexts] == ["dev", *(f"c{n}" for n in range(6)), "c10"]
    assert [one.context for one in config.left_out] == ["c6", "c7", "c8", "c9"]
    assert "8 contexts" in config.left_out[0].why


def test_only_those_that_are_asked_for_are_looked_at() -> None:
    text = written(several(("a", {}, {"exec": EXEC}), ("b", {}, {})))
    config = parse(text, NOTHING, only={"b"})
    assert ([context.name for context in config.contexts], config.left_out) == (["dev", "b"], ())


def test_a_thousand_contexts_of_one_large_cluster_take_no_longer_than_one() -> None:
    large = b64("-----BEGIN CERTIFICATE-----\n" + "A" * 300_000)
    contexts = [{"name": f"c{n}", "context": {"cluster": "large"}} for n in range(1000)]
    values = tree()
    values["contexts"] += contexts
    values["clusters"].append(
        {"name": "large", "cluster": {"server": "https://a", "certificate-authority-data": large}}
    )
    begin = time.process_time()
    config = read(values)
    assert time.process_time() - begin < 2
    assert len(config.left_out) == 1000
    assert len(json.dumps(described(config.left_out))) < 32 * 1024
    assert described(config.left_out)[-1]["why"].startswith("and ")


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
    "values",
    [
        FULL,
        TWO,
        tree(
            contexts=[{"name": name, "context": {"cluster": "kind", "user": name}} for name in [*AWKWARD[1:], "dev"]],
            users=[{"name": name, "user": {"token": name}} for name in [*AWKWARD[1:], "dev"]],
        ),
    ],
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
