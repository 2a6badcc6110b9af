"""The fields of one mapping in a kubeconfig, read by type; errors say the place and the entry's name.

A missing field and a null are the same, as for kubectl: "", False, no items.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.addresses import SEND_INSTEAD, why_refused
from k8s_mcp.kubeconfig.strict_yaml import Number, Value

FLATTEN = "`kubectl config view --raw --minify --flatten`"
"""What most refusals advise: keeps the current context only, and files' content instead of their names."""

CERTIFICATE = re.compile(rb"-----BEGIN (CERTIFICATE)-----")
PRIVATE_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]{2,9} )?PRIVATE KEY)-----")

_OMITTED = frozenset(("DATA+OMITTED", "REDACTED", base64.b64encode(b"REDACTED").decode()))
"""What `kubectl config view` prints in the place of what is secret or long."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z0-9]+)://(?:\[(?P<ipv6>[^]/?#@]*:[^]/?#@]*)\]|(?P<name>[^]\[/?#@:]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9_.~!$&'()*+,;=:@%/-]*)?"
)


def shown(name: str) -> str:
    """A name from the file as messages show it: quoted, escaped, short."""
    return repr(name if len(name) <= 60 else name[:59] + "…")


@dataclass(frozen=True)
class Fields:
    """One mapping of the file."""

    values: Mapping[str, Value] = field(repr=False)
    place: str = ""  # what goes before a field's name: "users[0].user."
    owner: str = ""  # the name of the entry it belongs to

    def error(self, key: str, problem: str) -> KubeconfigError:
        """To be raised. `key` and `problem` reach the caller: nothing of the file in them unless `shown`."""
        owner = f" (of {shown(self.owner)})" if self.owner else ""
        return KubeconfigError(f"{self.place}{key}{owner} {problem}")

    def has(self, key: str) -> bool:
        return self.values.get(key) not in (None, "")

    def text(self, key: str, *, lines: bool = False) -> str:
        """`lines` allows line ends and tabs in it."""
        return self._text(key, self.values.get(key), lines=lines)

    def texts(self, key: str, *, lines: bool = False) -> tuple[str, ...]:
        return tuple(self._text(f"{key}[{n}]", item, lines=lines) for n, item in enumerate(self._list(key)))

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {_kind(value)}")
        return bool(value)

    def within(self, key: str, owner: str = "") -> "Fields":
        value = self.values.get(key)
        return self._fields(key, {} if value is None else value, owner or self.owner)

    def each(self, key: str) -> Iterator["Fields"]:
        for n, item in enumerate(self._list(key)):
            yield self._fields(f"{key}[{n}]", item, self.owner)

    def pem(self, key: str, block: re.Pattern[bytes]) -> str:
        """Base64, on one line, of PEM that has such a block."""
        text = re.sub(r"[\r\n]", "", self.text(key, lines=True))  # kubectl skips line ends, too
        self._check_omitted(key, text)
        data = _decoded(text)
        found = block.search(data) if data else None
        if data is None or (data and not found):
            what = "base64" if data is None else "PEM of the right kind in base64"
            raise self.error(key, f"is not {what}; send what {FLATTEN} makes of the file")
        if found and b"-----END " + found[1] + b"-----" not in data[found.end() :]:
            raise self.error(key, f"is cut off: its PEM has no end; send what {FLATTEN} makes of the file")
        return base64.b64encode(data).decode()

    def secret(self, key: str) -> str:
        """Text that `kubectl config view` does not show."""
        text = self.text(key)
        self._check_omitted(key, text)
        return text

    def url(self, key: str, schemes: tuple[str, ...], *, loopback: bool) -> str:
        """scheme://host[:port][/path], in lower case up to the path, without a trailing dot or slash."""
        match = _URL.fullmatch(self.text(key))
        port = int(match["port"] or 1) if match else 0
        if not match or match["scheme"].lower() not in schemes or not 0 < port < 65536:
            form = f"{' or '.join(schemes)}://HOST[:PORT][/PATH]"
            raise self.error(key, f"must be {form}, with neither user name and password nor ? or #")
        reason = why_refused(match["ipv6"] or match["name"], loopback=loopback)
        if reason:
            raise self.error(key, f"has a host that is refused: it {reason}; {SEND_INSTEAD}")
        host = f"[{IPv6Address(match['ipv6'])}]" if match["ipv6"] else match["name"].removesuffix(".")
        port_part = f":{port}" if match["port"] else ""
        return f"{match['scheme']}://{host}{port_part}".lower() + (match["path"] or "").rstrip("/")

    def _check_omitted(self, key: str, text: str) -> None:
        if text in _OMITTED:
            raise self.error(key, f"is left out: `kubectl config view` shows it with --raw only; send {FLATTEN}")

    def _text(self, key: str, value: Value, *, lines: bool) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            hint = "; put it in quotes" if isinstance(value, bool | Number) else ""
            raise self.error(key, f"must be text, not {_kind(value)}{hint}")
        if _CONTROL.search(re.sub(r"[\t\r\n]", "", value) if lines else value):
            raise self.error(key, "has a line end or another control character in it; send it without")
        return value

    def _list(self, key: str) -> list[Value]:
        value = self.values.get(key)
        if value is not None and not isinstance(value, list):
            raise self.error(key, f"must be a list, not {_kind(value)}")
        return value or []

    def _fields(self, key: str, value: Value, owner: str) -> "Fields":
        if not isinstance(value, dict):
            raise self.error(key, f"must be a mapping, not {_kind(value)}")
        return Fields(value, f"{self.place}{key}.", owner)


def _kind(value: Value) -> str:
    match value:
        case bool():
            return "a truth value (which yes, no, on and off are without quotes)"
        case Number():
            return "a number"
        case None:
            return "empty"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None
