"""What the client makes of the kubeconfig files of its user, whatever is in them, and of what their plugins print."""

from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from k8s_mcp.client import exec_plugin
from k8s_mcp.client.exec_plugin import Credential
from k8s_mcp.client.kubeconfig_files import FileError, Source, merge
from k8s_mcp.client.sent_kubeconfig import Choice, Machine, Sent, prepare
from k8s_mcp.kubeconfig.fields import Fields
from k8s_mcp.kubeconfig.kubeconfig import Allowed, parse
from k8s_mcp.kubeconfig.strict_yaml import Value
from tests.support.kubeconfigs import CLIENT_KEY

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbm90IGEgc2VjcmV0\n-----END CERTIFICATE-----\n"
BETWEEN = b"\n%%%\n"
"""Between two files, and before what a plugin prints."""
_AS_SENT = Allowed(proxy_url=True, insecure_tls=True, loopback=True)
_LONGEST = 2000
_CONTENT = {".crt": CERTIFICATE.encode(), ".key": CLIENT_KEY.encode()}


def own_files(data: bytes) -> None:
    """Any files are what can be sent, or one sentence that names a file; what is sent is what a service takes.

    The last part is what each plugin prints. The first byte says, bit by bit: all contexts are sent; one is named;
    nothing can be read; files that they name have that last part in them, too, and not what their names promise.
    """
    how = data[0] if data else 0
    *files, printed = data[1:].split(BETWEEN)
    sources = [Source(f"file {number}", Path("/home"), content) for number, content in enumerate(files or [printed])]
    told: list[str] = []
    try:
        merged = merge(sources)
        named = next(reversed([*merged.contexts]), "") if how & 2 else ""
        choice = Choice(named, all_contexts=bool(how & 1))
        sent = prepare(merged, choice, told.append, _machine(printed, broken=bool(how & 4), odd=bool(how & 8)))
    except FileError as error:
        told.append(str(error))
    else:
        _check_sent(sent, named or merged.current_context)
    for line in told:
        assert line.isprintable(), line
        assert len(line) < _LONGEST, "short enough for a terminal"


def _check_sent(sent: Sent, current: str) -> None:
    config = parse(sent.text, _AS_SENT)  # which refuses plugins and files
    assert config.current_context == current
    assert not config.left_out
    again = prepare(merge([Source("sent", Path(), sent.text.encode())]), Choice(all_contexts=True), _never)
    assert parse(again.text, _AS_SENT) == config


def _never(line: str) -> None:
    raise AssertionError(line)


def _machine(printed: bytes, *, broken: bool, odd: bool) -> Machine:
    def read(path: Path) -> bytes:
        if broken:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return printed if odd else _CONTENT.get(path.suffix, printed)

    def plugin(body: Fields, directory: Path, cluster: Mapping[str, Value], stdin_is_free: bool) -> Credential:
        def run(body: Fields, *_: object) -> str:
            return _text(body, printed, broken=broken)

        with mock.patch.object(exec_plugin, "_program", _itself), mock.patch.object(exec_plugin, "_run", run):
            return exec_plugin.credential(body, directory, cluster, stdin_is_free)

    return Machine(read, plugin)


def _itself(_body: Fields, command: str, _directory: Path) -> str:
    return command


def _text(body: Fields, printed: bytes, *, broken: bool) -> str:
    if broken:
        raise body.error("command", "cannot be started")
    return printed.decode(errors="replace")
