"""YAML from a stranger, read in bounded time and memory.

`load` builds the values itself from the parser's events, so that nothing is composed, resolved or recursed
into before it was counted. What makes a small text large, or what two parsers could read differently, is
refused: anchors, tags, merge keys, directives, several documents, keys that are not text or stand twice. An
unquoted scalar is what kubectl takes it for (go-yaml's YAML 1.1: `y` and `on` are booleans, `1e3` is a
number, `2001-01-01` is text).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import yaml

from k8s_mcp.errors import KubeconfigError


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written. A kubeconfig has none, and converting a long one costs time."""

    text: str


Value: TypeAlias = "bool | Number | str | list[Value] | dict[str, Value] | None"

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document something is: keys, and numbers of list items from 0."""

_MAX_DEPTH = 32
_SEND_RAW = "send what `kubectl config view --raw` makes of it"

_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff"
# Directives are refused before the parser sees them: libyaml compares each %TAG with all others, which takes
# seconds for 512 KiB of them.
_UNREADABLE = re.compile(rf"[{_CONTROL}]|(?:\A\ufeff?|[\r\n])%")

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset(cased for word in ("y", "yes", "true", "on") for cased in (word, word.title(), word.upper()))
_FALSE = frozenset(cased for word in ("n", "no", "false", "off") for cased in (word, word.title(), word.upper()))
_NUMBER = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)


def load(
    text: str,
    *,
    max_nodes: int,
    instead: str = _SEND_RAW,
    lines: dict[Path, int] | None = None,
    as_kubectl: bool = False,
) -> Value:
    """The one document in `text`. Raises KubeconfigError, which says where, and never quotes the text.

    `instead`: what to do about that which is refused. `lines` is filled with the line, from 1, of each key and item.
    A document with nothing in it may follow, as a `---` at the end makes one. `as_kubectl` is for the user's own
    files: what follows is not looked at, and an alias stands for its anchor's value (each time it counts as nodes).
    """
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        line = text.count("\n", 0, unreadable.start()) + 1
        what = "a YAML directive (%)" if "%" in unreadable[0] else "a control character"
        raise KubeconfigError(f"line {line} has {what}, which is not needed; {instead}")
    tree = _Tree(max_nodes, instead, lines, {} if as_kubectl else None)
    try:
        for event in _events(text):
            if as_kubectl and isinstance(event, yaml.DocumentEndEvent):
                return tree.root
            tree.take(event)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        where = f" at {_place(mark)}" if mark else ""
    else:
        return tree.root
    # Raised out here: the parser's error quotes the text, and even `from None` would keep it as the context.
    raise KubeconfigError(f"is not valid YAML{where}; send the whole content of the file")


def _events(text: str) -> Iterator[Any]:
    # Without libyaml the worst 512 KiB take 0.7 s instead of 0.01 s, and tabs in JSON are an error.
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    return cast("Any", yaml).parse(text, Loader=loader)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _plain(text: str) -> Value:
    """What an unquoted scalar is."""
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] in "+-.0123456789" and _NUMBER.fullmatch(text.replace("_", "")):
        return Number(text)
    return text


def _size(value: Value, most: int) -> int:
    """How many nodes it has, or a number over `most`."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        one = waiting.pop()
        count += 1
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            count += len(one)
            waiting += one.values()
    return count


def _is_nothing(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and not event.value and event.implicit[0] and event.anchor is None


@dataclass
class _Open:
    """A list or mapping whose end was not seen yet, and the key that waits for its value."""

    into: "list[Value] | dict[str, Value]"
    key: str | None = None
    last: str | int = 0  # the key or number of what was added last, which may be open itself

    def put(self, value: Value) -> str | None:
        """Add it; or say what is wrong with it."""
        if isinstance(self.into, list):
            self.last = len(self.into)
            self.into.append(value)
        elif self.key is not None:
            self.into[self.key] = value
            self.last, self.key = self.key, None
        elif not isinstance(value, str):
            return "a key that is not text"
        elif value == "<<":
            return "a merge key (<<)"
        elif value in self.into:
            return "a key that its mapping has already"
        else:
            self.key = value
        return None


class _Tree:
    """The values, built from events with a stack of our own."""

    def __init__(
        self, max_nodes: int, instead: str, lines: dict[Path, int] | None, anchors: dict[str, Value] | None
    ) -> None:
        self.root: Value = None
        self._anchors = anchors
        self._instead = instead
        self._lines = lines
        self._open: list[_Open] = []
        self._left = max_nodes
        self._documents = 0

    def take(self, event: Any) -> None:
        problem: str | None = None
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif self._documents > 1 and isinstance(event, yaml.NodeEvent):
            problem = None if _is_nothing(event) else "a second document"
        elif isinstance(event, yaml.NodeEvent):
            problem = self._node(event)
        if problem:
            raise KubeconfigError(f"{_place(event.start_mark)}: {problem} is refused; {self._instead}")

    def _node(self, event: Any) -> str | None:
        if event.anchor is not None and self._anchors is None:
            return "an anchor or alias (& or *)"
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor))
        if event.tag is not None:
            return "a tag (!)"
        value: Value
        if isinstance(event, yaml.ScalarEvent):
            value = _plain(event.value) if event.implicit[0] else event.value
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor is not None and self._anchors is not None:
            self._anchors[event.anchor] = value
        return self._add(event, value, 1)

    def _alias(self, name: str) -> str | None:
        assert self._anchors is not None  # noqa: S101 # else it was refused
        if name not in self._anchors or any(self._anchors[name] is one.into for one in self._open):
            return "an alias of something that is not there, or not yet whole,"
        value = self._anchors[name]
        return self._add(None, value, _size(value, self._left), is_whole=True)

    def _add(self, event: Any, value: Value, nodes: int, *, is_whole: bool = False) -> str | None:
        self._left -= nodes
        if self._left < 0 or len(self._open) >= _MAX_DEPTH:
            return "a structure this large or this deep"
        problem = None
        if self._lines is not None and event is not None:
            self._lines.setdefault(self._path(value), event.start_mark.line + 1)
        if self._open:
            problem = self._open[-1].put(value)
        else:
            self.root = value
        if isinstance(value, list | dict) and not is_whole:
            self._open.append(_Open(value))
        return problem

    def _path(self, value: Value) -> Path:
        """Of the node that is about to be added; a key has its value's."""
        if not self._open:
            return ()
        *above, into = self._open
        step = len(into.into) if isinstance(into.into, list) else into.key or str(value)
        return (*(one.last for one in above), step)
