"""What fuzzing begins with, where there is no corpus yet: inputs that go far into each target."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from k8s_mcp.models import Control, Output
from k8s_mcp.runner.frames import EXIT, HEARTBEAT, HELLO, STDERR, STDOUT, Encoder
from k8s_mcp.web import sse
from tests.fuzz import gate_record
from tests.fuzz.own_files import BETWEEN
from tests.support.kubeconfig_trees import AWKWARD, CA, CERTIFICATE, EXEC, KEY, tree, written
from tests.support.kubeconfigs import CERTIFICATE as FILE_CERTIFICATE
from tests.support.kubeconfigs import CLIENT_KEY
from tests.support.real_kubeconfigs import SHAPES, Access, write


def of(target: str) -> list[bytes]:
    """Seeds of the target of that name."""
    return {
        "kubeconfig": _kubeconfigs,
        "frames": _frames,
        "addresses": _addresses,
        "event_source": _streams,
        "answers": _answers,
        "request": _requests,
        "connection": _connections,
        "host": _hosts,
        "token": _tokens,
        "own_files": _own_files,
        "gate_record": gate_record.seeds,
    }[target]()


def words(target: str) -> list[bytes]:
    """What inputs of that target are likely made of."""
    if target == "own_files":
        return [BETWEEN, *(word.encode() for word in (*_FIELDS, *_OF_FILES, *_YAML))]
    if target in {"kubeconfig", "request"}:
        return [word.encode() for word in (*_FIELDS, *_YAML)]
    if target == "frames":
        return [b"k8sm1 ", b" o ", b" e ", b" x ", b" b ", b" z ", b" r ", b"-1", b"65536", b"eJw=", b"ZG9uZSAw"]
    if target == "event_source":
        return [b"event: ", b"data: ", b"id: ", b"stdout\n", b"stderr\n", b"control\n", b"\n\n", b": ping\n\n"]
    if target == "answers":
        return [word.encode() for word in _API]
    if target == "token":
        return [word.encode() for word in _CLAIMS]
    if target == "gate_record":
        return gate_record.WORDS
    if target == "connection":
        return list(_HTTP)
    return [b"0x", b"::ffff:", b"169.254.169.254", b"127.", b".localhost", b"[", b"%25", b"2852039166", b"64:ff9b::"]


_FIELDS = (
    "apiVersion", "kind", "current-context", "contexts", "clusters", "users", "name", "context", "cluster", "user",
    "server", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name", "proxy-url", "token",
    "client-certificate-data", "client-key-data", "username", "password", "exec", "as", "as-groups", "as-user-extra",
    "tokenFile", "auth-provider", "namespace", "command", "kubeconfig", "timeout", "stdin", "jsonrpc", "method",
    "params", "tools/call", "notifications/cancelled", "arguments", "ttl",
)  # fmt: skip
_OF_FILES = (
    "apiVersion: client.authentication.k8s.io/v1", "interactiveMode: Always", "provideClusterInfo: true",
    "installHint",
    "certificate-authority", "client-certificate", "client-key", "extensions", "extension", "auth-provider", "oidc",
    "id-token", "config", "env", "args", "ExecCredential", "status", "clientCertificateData", "clientKeyData",
    "expirationTimestamp", "2030-01-31T12:00:00Z", "DATA+OMITTED", "REDACTED",
)  # fmt: skip
_YAML = (
    "<<",
    "&a",
    "*a",
    "!!",
    "- ",
    ": ",
    "|\n",
    ">-\n",
    "? ",
    "%TAG",
    "---\n",
    "...\n",
    '"',
    "'",
    "{",
    "[",
    "\ufeff",
    "\\u",
)

_API = (
    "kind", "metadata", "items", "name", "uid", "resourceVersion", "spec", "status", "Status", "code", "reason",
    "message", "details", "retryAfterSeconds", "type", "object", "ADDED", "DELETED", "BOOKMARK", "ERROR", "null",
    "labels", "annotations", "data", "conditions", "containerStatuses", "state", "terminated", "exitCode", "allowed",
    "authenticated", "user", "groups", "audiences", "gitVersion", "Retry-After: 5", "Content-Type: application/json",
    "NaN", "Infinity", "1e999", "\\ud800", "[[", '{"', '"}', "\r\n\r\n", "\n", "\u00e9",
)  # fmt: skip

_HTTP = (
    b"\r\n", b"\r\n\r\n", b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b"Host: a\r\n", b"Content-Length: 2\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"identity",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b"2\r\n{}\r\n", b"0\r\n\r\n", b";x=y", b"\t", b"\0", b"\x0b", b"http://b:1/",
    b"%2e", b"#",
)  # fmt: skip


def _kubeconfigs() -> list[bytes]:
    users = (
        {"token": None, "exec": {**EXEC, "args": ["a"], "env": [{"name": "A", "value": "b"}]}},
        {"token": None, "client-certificate-data": CERTIFICATE, "client-key-data": KEY},
        {"token": None, "username": "u", "password": "p"},
        {"as": "a", "as-uid": "1", "as-groups": ["b"], "as-user-extra": {"c": ["d"]}},
        {"tokenFile": "/etc/passwd"},
        {"auth-provider": {"name": "gcp"}},
    )
    clusters = (
        {"certificate-authority-data": CA, "tls-server-name": "a.b", "disable-compression": True},
        {"insecure-skip-tls-verify": True, "proxy-url": "socks5://proxy:1080"},
        {"server": "https://[::ffff:169.254.169.254]:443/x"},
        {"certificate-authority": "/etc/passwd"},
    )
    trees = [tree(user=user) for user in users] + [tree(cluster=cluster) for cluster in clusters]
    trees += [tree(user={"token": text}, context={"namespace": "a-b"}) for text in AWKWARD]
    return [form for values in trees for form in (written(values).encode(), yaml.safe_dump(values).encode())]


def _own_files() -> list[bytes]:
    """Real kubeconfigs, alone and with another; what plugins print, as they may print it."""
    access = Access("https://192.0.2.1:6443", FILE_CERTIFICATE, "a-token-of-somebody", FILE_CERTIFICATE, CLIENT_KEY)
    with TemporaryDirectory(prefix="k8s-mcp-fuzz-") as home:
        files = [write(shape, access, Path(home)).read_text().replace(home, "/home").encode() for shape in SHAPES]
    ends = "2030-01-31T12:00:00Z"
    token = [_printed(file, {"token": "one", "expirationTimestamp": ends}) for file in files]
    pair = {"clientCertificateData": FILE_CERTIFICATE, "clientKeyData": CLIENT_KEY}
    certificate = [_printed(file, pair) for file in files]
    seeds = [b"\0" + BETWEEN.join(parts) for parts in zip(files, token, strict=True)]
    seeds += [b"\1" + BETWEEN.join(parts) for parts in zip(files, files[1:], certificate, strict=False)]
    seeds += [how + BETWEEN.join([*files, token[0]]) for how in (b"\1", b"\2", b"\4", b"\x08")]
    return [*seeds, b"\0\xff\xfe" + files[0].decode().encode("utf-16-le") + BETWEEN]


def _printed(file: bytes, status: dict[str, str]) -> bytes:
    version = re.search(rb"client\.authentication\.k8s\.io/\w+", file)
    kind = {"kind": "ExecCredential", "apiVersion": version[0].decode() if version else "v1"}
    return json.dumps({**kind, "status": status}).encode()


def _frames() -> list[bytes]:
    encoder = Encoder()
    log = encoder.control(HELLO) + encoder.output(STDOUT, b"one\r\ntwo") + encoder.output(STDERR, b"three\r")
    log += encoder.control(HEARTBEAT) + encoder.output(STDOUT, b"\nfour" * 200) + encoder.control(EXIT, "done 0")
    raw = Encoder(raw=True)
    pipe = raw.control(HELLO) + raw.output(STDOUT, b"one\ntwo") + raw.control(EXIT, "timeout 124")
    unchecked = b"\n".join(line.split(b" ", 2)[2] for line in log.splitlines())
    return [b"\0" + log, b"\1" + unchecked, b"\x80" + pipe, b"\1" + b"0 x 1 2 3 4 0 b " + b"ZG9uZSAw"]


def _addresses() -> list[bytes]:
    return [
        text.encode()
        for text in (
            "10.0.0.1", "kubernetes.default.svc", "169.254.169.254", "0xA9FEA9FE", "2852039166", "0251.0376.43518",
            "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1%eth0", "localhost.", "a.b.1", "2002:7f00:1::",
        )
    ]  # fmt: skip


def _streams() -> list[bytes]:
    events = [Control({"status": "started", "run_id": "0" * 32}), Output("stdout", 1, 3, b"a\n\nb")]
    events += [Output("stderr", 4, 1, b"c"), Control({"status": "done", "exit_code": 0}, 5, final=True)]
    return [b"\x80" + sse.encode(events) + sse.PING]


def _answers() -> list[bytes]:
    names = {"name": "run-1", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}, "annotations": None}
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": None}}
    condition = {"type": "Failed", "status": "True", "reason": "r", "message": "m"}
    statuses = {"containerStatuses": [{"name": "runner", "state": state}], "conditions": [condition]}
    pod = {"kind": "Pod", "metadata": names, "spec": {"nodeName": "n"}, "status": statuses}
    job = {"kind": "Job", "metadata": names, "spec": {}, "status": {"conditions": [condition]}}
    status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 1}}
    jobs = {"kind": "JobList", "metadata": {"resourceVersion": "7"}, "items": [job]}
    event = {"metadata": names, "involvedObject": {"kind": "Pod", "name": "run-1"}, "type": "Warning"}
    lease = {"kind": "Lease", "metadata": names, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 30}}
    user = {"authenticated": True, "user": {"username": "u", "groups": ["g"]}, "audiences": ["a"]}
    bodies: list[tuple[int, object]] = [(0, jobs), (2, job), (3, pod), (5, lease), (10, status), (0, status)]
    bodies += [(1, {**jobs, "kind": "PartialObjectMetadataList"}), (8, {"status": {"allowed": True}})]
    bodies += [(4, {"kind": "Secret", "metadata": names, "data": {"a": "YQ=="}}), (9, {"status": user})]
    bodies += [(7, {"gitVersion": "v1.37.2"}), (6, {"kind": "Namespace", "metadata": names})]
    bodies += [(0, {"type": "ADDED", "object": job}), (1, {"type": "MODIFIED", "object": pod})]
    bodies += [(2, {"type": "DELETED", "object": event}), (0, {"type": "ERROR", "object": status})]
    bodies += [(0, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}})]
    head = b"Content-Type: application/json\r\nRetry-After: 3\r\n\r\n"
    numbers = [number.to_bytes(2) for number in (100, 101, 329, 420)]  # of 200, 201, 429, 520
    return [
        bytes([what]) + number + b"\x80" + head + json.dumps(body).encode()
        for what, body in bodies
        for number in numbers
    ] + [b"\0" + number + b"\x80Content-Type: text/html\r\n\r\n<html>" for number in numbers]


def _requests() -> list[bytes]:
    config = written(tree())
    run = {"command": "id", "kubeconfig": config, "timeout": 5, "stdin": "x"}
    messages: list[dict[str, object]] = [
        {"id": 1, "method": "tools/list"},
        {"id": "a", "method": "tools/call", "params": {"name": "kubectl", "arguments": {"cluster": "one"}}},
        {"method": "notifications/cancelled", "params": {"requestId": 1}},
        {"id": 2, "result": {}},
    ]
    return [
        b"\0\0" + json.dumps(run).encode(),
        b"\0\0" + json.dumps({"command": "id", "cluster": "one"}).encode(),
        b"\1\0" + json.dumps({"kubeconfig": config, "ttl": 60}).encode(),
        *(
            path + json.dumps({"jsonrpc": "2.0", **message}).encode()
            for path in (b"\0\0", b"\2\0", b"\3\0")
            for message in messages
        ),
    ]


def _connections() -> list[bytes]:
    get, post = b"GET /runs?a=b HTTP/1.1\r\nHost: a\r\n", b"POST /sse HTTP/1.1\r\nHost: a\r\n"
    length = b"Content-Length: 2\r\n\r\n{}"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n"
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    messages = [get + b"\r\n", post + length, post + chunks, get + upgrade + b"\r\n", post + upgrade + length]
    messages += [b"POST http://a/sse HTTP/1.0\r\nConnection: keep-alive\r\n" + length]
    messages += [post + b"Expect: 100-continue\r\nX: a\r\n b\r\n" + length, b"HEAD /x HTTP/1.1\r\nHost:a\r\n\r\n"]
    return [
        *(b"\x80" + message for message in messages),
        *(b"\x80" + message + other for message in messages for other in (get + b"\r\n", post + length)),
    ]


_CLAIMS = (
    '"alg":', '"kid":', '"typ":', '"RS256"', '"HS256"', '"none"', '"ES256"', '"crit":', '"b64":false', '"jku":',
    '"iss":', '"https://issuer.example"', '"aud":', '"k8s-mcp"', '"sub":', '"exp":', '"nbf":', '"iat":', "9999999999",
    "1e400", "null", "[]", "{}", "true", "Bearer ", ".", "=", '"system:serviceaccount:a:b"', '"groups":',
    '"\\ud800"', "NaN",
)  # fmt: skip


def _hosts() -> list[bytes]:
    names = ("localhost", "127.0.0.1", "[::1]", "k8s.example.com", "[::ffff:127.0.0.1]", "a%41", "_b", "")
    ports = ("", ":", ":80", ":09096", ":65536", ":abc", "@127.0.0.1", ":9096@127.0.0.1", "/", "#", "?x", ".")
    return [f"{name}{port}".encode() for name in names for port in ports]


def _tokens() -> list[bytes]:
    claims: dict[str, object] = {"iss": "https://issuer.example", "aud": "k8s-mcp", "sub": "me", "exp": 9999999999}
    account = {"sub": "system:serviceaccount:a:b", "aud": ["k8s-mcp"], "exp": 9999999999}
    headers: list[dict[str, object]] = [
        {"alg": "RS256", "kid": "one", "typ": "JWT"},
        {"alg": "none"},
        {"alg": []},
        {"alg": "HS256", "typ": 5},
    ]
    bodies: list[dict[str, object]] = [{**claims}, {**account}]
    bodies += [{**claims, "exp": "soon"}, {**claims, "aud": {}}, {**claims, "sub": []}]
    return [
        *(
            b"\1" + b"\n".join((json.dumps(header).encode(), json.dumps(body).encode(), b"x" * 256))
            for header in headers
            for body in bodies
        ),
        *(
            b"\0" + text
            for text in (b"Bearer abc", b"bearer  a.b.c", b"Basic YTpi", b"Bearer", b"Bearer a b", b"\xff")
        ),
    ]
