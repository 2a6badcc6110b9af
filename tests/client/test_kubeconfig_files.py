"""What is sent of the caller's kubeconfig is what kubectl would use: found, read, merged, files embedded."""

import base64
import json
import subprocess
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s_mcp.client.kubeconfig_files import FileError, Source, find, merge, read_file
from k8s_mcp.client.sent_kubeconfig import Choice, Sent, prepare
from k8s_mcp.kubeconfig.kubeconfig import Context, Kubeconfig, parse
from k8s_mcp.limits import KUBECONFIG_BYTES
from tests.support.kubeconfig_trees import (
    CA,
    CERTIFICATE,
    EVERYTHING,
    EXEC,
    KEY,
    NOTHING,
    SECRET,
    Tree,
    tree,
    written,
)
from tests.support.kubeconfig_trees import b64 as encoded


class Home:
    """A directory with kubeconfigs and what they name."""

    def __init__(self, directory: Path, kubectl: Path | None = None) -> None:
        self.directory = directory
        self._kubectl = kubectl
        self.told: list[str] = []
        (directory / "pki").mkdir()
        for name, content in {
            "ca.crt": CA,
            "c.crt": CERTIFICATE,
            "c.key": KEY,
            "token": encoded(f" {SECRET}-file\n"),
        }.items():
            (directory / "pki" / name).write_bytes(base64.b64decode(content))
        (directory / "pki" / "empty").touch()

    def write(self, name: str, content: Tree | str | bytes) -> str:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        text = written(content) if isinstance(content, dict) else content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def sent(self, *contents: Tree | str | bytes, context: str = "", all_contexts: bool = False) -> Sent:
        names = [self.write(f"config{number}", content) for number, content in enumerate(contents)]
        sources = [read_file(name) for name in names]
        return prepare(merge(sources), Choice(context, all_contexts), self.told.append)

    def config(self, *contents: Tree | str | bytes, context: str = "", all_contexts: bool = False) -> Kubeconfig:
        return parse(self.sent(*contents, context=context, all_contexts=all_contexts).text, EVERYTHING)

    def kubectl(self, *names: str) -> Kubeconfig:
        """What kubectl makes of those files: its current context, by itself, flattened."""
        assert self._kubectl
        paths = ":".join(str(self.directory / name) for name in names)
        call = [self._kubectl, "config", "view", "--raw", "--minify", "--flatten", "-o", "json"]
        done = subprocess.run(call, env={"KUBECONFIG": paths}, capture_output=True, text=True, check=True)
        return parse(done.stdout, EVERYTHING)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def with_kubectl(tmp_path: Path, kubectl: Path) -> Home:
    return Home(tmp_path, kubectl)


def entry(name: str, server: str = "https://10.0.0.1", **user: Any) -> Tree:
    """A context, a cluster and a user of that name, and no current context."""
    return {
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": user or {"token": name}}],
    }


WITH_FILES = tree(
    contexts=[
        {"name": "dev", "context": {"cluster": "kind", "user": "admin", "namespace": "a"}},
        {"name": "dev as jane", "context": {"cluster": "kind", "user": "jane"}},
        {"name": "other", "context": {"cluster": "other"}},
    ],
    clusters=[
        {"name": "kind", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority": "pki/ca.crt"}},
        {"name": "other", "cluster": {"server": "https://10.0.0.2", "certificate-authority": "missing"}},
        {"name": "unused", "cluster": {"server": ""}},
    ],
    users=[
        {"name": "admin", "user": {"client-certificate": "pki/c.crt", "client-key": "pki/c.key"}},
        {"name": "jane", "user": {"tokenFile": "pki/token", "token": "older"}},
        {"name": "unused", "user": {"exec": EXEC}},
    ],
)


def test_files_are_embedded_as_kubectl_does_it(with_kubectl: Home) -> None:
    assert with_kubectl.config(WITH_FILES) == with_kubectl.kubectl("config0")


def test_the_token_of_a_token_file_wins(home: Home) -> None:
    config = home.config(WITH_FILES, context="dev as jane")
    assert config.current_context == "dev as jane"
    assert config.secrets() == (f"{SECRET}-file",)


def test_all_contexts_are_kept_if_asked_and_those_that_cannot_be_are_named(home: Home) -> None:
    files = written(WITH_FILES)
    config = home.config(files, all_contexts=True)
    assert [context.name for context in config.contexts] == ["dev", "dev as jane"]
    [told] = home.told
    assert "the context 'other' is left out: the kubeconfig" in told
    assert "'missing' cannot be read (No such file or directory)" in told
    config = home.config(files.replace("missing", "pki/ca.crt"), context="other", all_contexts=True)
    assert config.current_context == "other"
    assert {context.name for context in config.contexts} == {"dev", "dev as jane", "other"}


def test_of_more_contexts_than_can_be_sent_the_first_are(home: Home) -> None:
    names = [f"c{n}" for n in range(12)]
    many = {
        "current-context": "c11",
        **{key: [one for name in names for one in entry(name)[key]] for key in ("contexts", "clusters", "users")},
    }
    assert {context.name for context in home.config(many, all_contexts=True).contexts} == {*names[:7], "c11"}
    assert home.told == ["4 contexts are left out: at most 8 can be sent"]


def test_one_of_thousands_of_contexts_can_be_chosen(home: Home) -> None:
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
    sent = home.sent(text, context="c400")
    assert parse(sent.text, NOTHING).contexts == (Context("c400", "c400"),)


@pytest.mark.parametrize(
    ("user", "context", "message"),
    [
        ({"auth-provider": {"name": "gcp"}, "token": None}, "", "auth-provider .*`kubectl create token"),
        ({"tokenFile": "pki/none"}, "", r"tokenFile \(of 'admin'\) 'pki/none' cannot be read \(No such file"),
        ({"tokenFile": "pki/empty"}, "", "'pki/empty' is an empty file"),
        ({"tokenFile": "/dev/zero"}, "", r"'/dev/zero' cannot be read \(over 512 KiB\)"),
        ({"tokenFile": "pki"}, "", r"'pki' cannot be read \(Is a directory\)"),
        (
            {"client-key": "pki/token", "client-certificate": "pki/c.crt"},
            "",
            "client-key-data .* not PEM of the right",
        ),
        ({"client-key": "pki/c.key"}, "", "client-certificate-data belong together"),
        ({"token": "REDACTED"}, "", r"token \(of 'admin'\) is left out.*--raw"),
        ({}, "none", r"current-context 'none' does not exist; name one of the contexts \('dev'\)"),
    ],
)
def test_what_cannot_be_sent_is_refused_without_a_secret(home: Home, user: Tree, context: str, message: str) -> None:
    with pytest.raises(FileError, match=message) as refused:
        home.sent(tree(user=user), context=context)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


# Several files


MERGES: dict[str, list[Tree | str]] = {
    "current context in the first, its cluster in the second": [
        {**entry("x"), "current-context": "dev"},
        {key: value for key, value in tree().items() if key != "current-context"},
    ],
    "each part in another": [{"current-context": "dev", "users": tree()["users"]}, {"clusters": tree()["clusters"]},
                             {"contexts": tree()["contexts"]}],
    "the first that sets the current context": [{"current-context": "", **entry("x")}, tree(), entry("y")],
    "the first that has an entry": [
        {**entry("dev", "https://10.0.0.7", token="first"), "current-context": "dev"},
        {**entry("dev", "https://10.0.0.8", username="a", password="b"), "current-context": "x"},
    ],
    "entries of one name are not mixed": [
        {**entry("dev", token="t"), "current-context": "dev"},
        {"users": [{"name": "dev", "user": {"client-certificate-data": CERTIFICATE, "client-key-data": KEY}}]},
    ],
    "an empty file, one that is a comment, one of nulls": ["", "# nothing\n", "users:\nclusters:\n", tree()],
    "other documents are not looked at": [f"{written(tree())}\n---\n{written(entry('x'))}", entry("y")],
    "a trailing ---": [f"---\n{written(tree())}\n---\n"],
    "anchors": ["a: &u {token: t}\n" + yaml.safe_dump(entry("x")).replace("token: x", "{}") + "current-context: x\n"
                "preferences: *u\n"],
}  # fmt: skip


@pytest.mark.parametrize("name", MERGES)
def test_several_files_are_merged_as_kubectl_does_it(with_kubectl: Home, name: str) -> None:
    contents = MERGES[name]
    config = with_kubectl.config(*contents)
    assert config == with_kubectl.kubectl(*(f"config{number}" for number in range(len(contents))))
    assert with_kubectl.told == []


def test_relative_paths_begin_where_their_file_is(with_kubectl: Home) -> None:
    (with_kubectl.directory / "sub" / "pki").mkdir(parents=True)
    with_kubectl.write("sub/pki/c.crt", base64.b64decode(CERTIFICATE))
    files = {"token": None, "client-certificate": "pki/c.crt", "client-key": "../pki/c.key"}
    other = with_kubectl.write("sub/config", {"users": tree(user=files)["users"]})
    first = with_kubectl.write("config", tree(users=[]))
    sent = prepare(merge([read_file(first), read_file(other)]), Choice(), with_kubectl.told.append)
    assert parse(sent.text, EVERYTHING) == with_kubectl.kubectl("config", "sub/config")


def test_the_files_of_the_environment_are_found_as_kubectl_finds_them(home: Home) -> None:
    one, two = home.write("one", entry("one")), home.write("two", entry("two"))
    found = find({"KUBECONFIG": f":{one}:/does/not/exist:{two}:{one}"})
    assert [source.shown for source in found] == [one, two]
    with pytest.raises(FileError, match="/does/not/exist cannot be read: No such file"):
        find({"KUBECONFIG": "/does/not/exist"})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_are_read_as_kubectl_reads_them(with_kubectl: Home, encoding: str) -> None:
    text = written(tree(contexts=[{"name": "düsseldorf 🗼", "context": {"cluster": "kind", "user": "admin"}}]))
    text = text.replace('"current-context": "dev"', '"current-context": "düsseldorf 🗼"')
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""
    config = with_kubectl.config((mark + text).encode(encoding))
    assert config == with_kubectl.kubectl("config0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00\xd8\x00\xd8", "is not text in UTF-8, or in UTF-16 with its byte order mark"),
        (b"kind: Config\n\xff", "is not text in UTF-8"),
        (b"a: [", "config1: is not valid YAML"),
        (b"- a", "config1: is not a mapping"),
        (b"kind: Secret", "config1: is something else"),
        (b"users: [{name: a}, {name: a}]", r"config1: users\[1\].name 'a' is another entry's name already"),
        (b"users: [{name: 1}]", r"config1: users\[0\].name must be text, not a number"),
        (b"a: &a [*a]", "an alias of something that is not there, or not yet whole, is refused"),
        (b"a: *b", "config1: is not valid YAML|an alias of something"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(home: Home, content: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message) as refused:
        home.sent(tree(), content)
    assert str(refused.value).count("the kubeconfig ") == 1


def test_aliases_of_aliases_take_no_time_and_no_memory(home: Home) -> None:
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    begin = time.process_time()
    with pytest.raises(FileError, match="a structure this large"):
        home.sent(f"a0: &a0 [x]\n{bomb}")
    assert time.process_time() - begin < 5


def test_a_file_that_is_too_large_is_named() -> None:
    with pytest.raises(FileError, match="/dev/zero is over 16 MiB"):
        read_file("/dev/zero")


# OpenID Connect, as kubectl had it before plugins


def token(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{SECRET}"


def oidc(value: object) -> Tree:
    return tree(user={"token": None, "auth-provider": {"name": "oidc", "config": {"id-token": value}}})


def test_the_id_token_of_the_oidc_provider_is_sent_while_it_is_good(home: Home) -> None:
    good = token({"exp": time.time() + 600})
    assert home.config(oidc(good)).users[0].token == good


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (token({"exp": 1e9}), "id-token .* has ended; run kubectl once"),
        (token({}), "is no token with a time"),
        (token({"exp": "soon"}), "is no token with a time"),
        (token(["exp"]), "is no token with a time"),
        (token({"exp": 10**400}), "is no token with a time"),
        ("a.b", "is no token with a time"),
        ("....", "is no token with a time"),
        ("[" * 5000, "is no token with a time"),
        (None, "id-token .* is missing"),
    ],
)
def test_an_id_token_that_is_of_no_use_is_refused_without_being_shown(
    home: Home, value: str | None, message: str
) -> None:
    with pytest.raises(FileError, match=message) as refused:
        home.sent(oidc(value))
    assert SECRET not in str(refused.value)


def test_standard_input_has_no_directory_but_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Home(tmp_path)
    monkeypatch.chdir(tmp_path)
    source = Source("standard input", Path(), written(WITH_FILES).encode())
    assert parse(prepare(merge([source]), Choice(), print).text, EVERYTHING).users[0].client_key_data == KEY
