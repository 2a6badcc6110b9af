"""What must hold for any kubeconfig, however strange or hostile."""

import json
import time
import traceback
from copy import deepcopy
from typing import Any, cast

import yaml
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp.kubeconfig.kubeconfig import Allowed, Cluster, Context, Exec, Kubeconfig, User, parse
from tests.support.kubeconfig_trees import (
    AWKWARD,
    CA,
    CERTIFICATE,
    EVERYTHING,
    EXEC,
    KEY,
    SECRET,
    Tree,
    b64,
    refusal,
    tree,
    written,
)

NO_LINE = "\u2028\u2029\ufeff\ufffe\uffff"
LINE = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=NO_LINE), max_size=20
) | st.sampled_from(AWKWARD)
LINES = LINE | st.just("two\n\tlines\r\n")
NAMES = st.lists(LINE.filter(bool), min_size=1, max_size=3, unique=True)
SERVERS = st.sampled_from(["https://a", "http://10.0.0.1:80/x/y", "https://[2001:db8::1]:6443", "https://127.0.0.1"])
EXECS = st.builds(
    Exec,
    st.just("aws"),
    st.sampled_from(["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]),
    st.lists(LINES).map(tuple),
    st.lists(st.tuples(LINE.filter(lambda name: bool(name) and "=" not in name), LINES)).map(tuple),
    st.sampled_from(["Never", "IfAvailable", "Always"]),
    st.booleans(),
)
USERS: list[st.SearchStrategy[Tree]] = [
    st.fixed_dictionaries({"token": LINE}),
    st.fixed_dictionaries({"username": LINE, "password": LINE}),
    st.fixed_dictionaries({"exec": EXECS}),
    st.just({"client_certificate_data": CERTIFICATE, "client_key_data": KEY}),
]
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).filter(lambda key: key != "<<")
IMPERSONATION: st.SearchStrategy[Tree] = st.fixed_dictionaries(
    {
        "impersonate": LINE.filter(bool),
        "impersonate_uid": LINE,
        "impersonate_groups": st.lists(LINE).map(tuple),
        "impersonate_extra": st.dictionaries(VISIBLE, st.lists(LINE).map(tuple)).map(
            lambda extra: tuple(extra.items())
        ),
    }
)


@st.composite
def kubeconfigs(draw: st.DrawFn) -> Kubeconfig:
    clusters = tuple(
        Cluster(
            name,
            draw(SERVERS),
            draw(st.sampled_from(["", CA])),
            tls_server_name=draw(st.sampled_from(["", "a.b"])),
            disable_compression=draw(st.booleans()),
            proxy_url=draw(st.sampled_from(["", "socks5://proxy:1080"])),
        )
        for name in draw(NAMES)
    )
    users = tuple(
        User(name, **draw(st.one_of(USERS)), **draw(IMPERSONATION | st.just(dict[str, Any]())))
        for name in draw(NAMES)
    )
    contexts = tuple(
        Context(
            name,
            draw(st.sampled_from(clusters)).name,
            draw(st.sampled_from(["", *(user.name for user in users)])),
            draw(st.sampled_from(["", "default", "1", "a-b"])),
        )
        for name in draw(NAMES)
    )
    # What no context names is not kept.
    in_use = {context.cluster for context in contexts}, {context.user for context in contexts}
    return Kubeconfig(
        draw(st.sampled_from(contexts)).name,
        contexts,
        tuple(cluster for cluster in clusters if cluster.name in in_use[0]),
        tuple(user for user in users if user.name in in_use[1]),
    )


@given(kubeconfigs())
def test_what_is_dumped_is_parsed_as_the_same(config: Kubeconfig) -> None:
    assert parse(config.dump(), EVERYTHING) == config
    assert yaml.safe_load(config.dump())["current-context"] == config.current_context


@given(st.text() | st.text().map(lambda text: f"kind: Config\ncontexts: {text}"))
def test_any_text_is_parsed_or_refused_with_a_kubeconfig_error(text: str) -> None:
    error = refusal(text, EVERYTHING)
    assert error is None or str(error).isprintable()


CERTIFIED: Tree = {"client-certificate-data": CERTIFICATE, "client-key-data": KEY, "token": f"{SECRET}-token"}
PLUGIN: Tree = {**EXEC, "args": [f"{SECRET}-argument"], "env": [{"name": "A", "value": f"{SECRET}-value"}]}
SECRETIVE = tree(
    users=[
        {"name": "admin", "user": {"username": "u", "password": f"{SECRET}-password"}},
        {"name": "certified", "user": CERTIFIED},
        {"name": "plugged", "user": {"exec": PLUGIN}},
    ]
)
# Where a secret may end up by mistake; not in a name, for names are shown
MISPLACED = ["server", "proxy-url", "namespace", "tokenFile", "client-key-data", "exec", "contexts", "as-user-extra"]
JUNK = st.sampled_from([None, 1, True, "", [], {}, "x", [1], {"a": 1}, f"{SECRET}\n", [SECRET], {SECRET: 1}]).map(
    deepcopy
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every place in the tree: what holds it, and its key or index."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        inner = list(cast("Tree", node).items())
    elif isinstance(node, list):
        inner = list(enumerate(cast("list[Any]", node)))
    here: list[tuple[Any, Any]] = [(cast("Any", node), key) for key, _ in inner]
    return here + [place for _, value in inner for place in places(value)]


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A kubeconfig full of secrets, broken in a few places of its structure and its text."""
    root = json.loads(written(SECRETIVE))
    for _ in range(draw(st.integers(0, 3))):
        holder, key = draw(st.sampled_from(places(root)))
        if key in ("name", "command"):
            continue
        change = draw(st.sampled_from(["remove", "replace", "move"]))
        value = holder[key]
        if change == "replace" or isinstance(holder, list):
            holder[key] = draw(JUNK)
        else:
            del holder[key]
        if change == "move" and isinstance(holder, dict):
            holder[draw(st.sampled_from(MISPLACED))] = value
        if not places(root):
            break
    text = yaml.safe_dump(root) if draw(st.booleans()) else json.dumps(root, indent=draw(st.sampled_from([None, 1])))
    at = draw(st.integers(0, len(text)))
    inserted = draw(st.sampled_from(["", "", "", "\x00", "\t", ":", '"', "&a ", "!", "\n", "{", "\ud800"]))
    return text[:at] + inserted + text[at:]


@given(broken())
def test_no_secret_is_in_any_error_or_repr(text: str) -> None:
    allowed = Allowed(frozenset({"aws"}), proxy_url=True)
    error = refusal(text, allowed)
    if error is None:
        assert SECRET not in repr(parse(text, allowed))
        return
    chain = [error, error.__cause__, error.__context__]
    assert chain[1:] == [None, None]
    told = [str(error), repr(error), *traceback.format_exception(error)]
    assert not any(secret in line for secret in (SECRET, KEY, b64(SECRET)[:12]) for line in told)


def test_hostile_values_are_judged_in_bounded_time() -> None:
    start = time.process_time()
    long = "a" * 400_000
    begin = b64("-----BEGIN " * 25_000)
    for user in ({"token": long}, {"client-key-data": begin}, {"as": "x", "as-groups": ["x"] * 9_000}):
        refusal(written(tree(user=user)))
    for server in (
        f"https://{long}",
        f"https://{'a.' * 200_000}",
        f"https://a/{long}?",
        f"https://[{':' * 400_000}]",
        "1" * 400_000,
    ):
        assert refusal(written(tree(cluster={"server": server})))
    assert time.process_time() - start < 2, "takes 0.1 s on an idle machine"
