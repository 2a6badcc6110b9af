"""The caller's own kubeconfig, as kubectl finds it, reads it, and merges it from several files.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files
"""

import codecs
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.fields import Fields
from k8s_mcp.kubeconfig.kubeconfig import named_entries, top

_DEFAULT = "~/.kube/config"
_MAX_BYTES = 16 << 20
_MAX_NODES = 1_000_000  # all the clusters that somebody has, of which one is sent
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),  # what PowerShell's > writes
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SECTIONS = ("contexts", "clusters", "users")


class FileError(Exception):
    """A kubeconfig cannot be used. The message, for the user, names the file; nothing secret is in it."""


@dataclass(frozen=True)
class Source:
    """A kubeconfig file. `shown` is how messages call it; relative paths in it begin at `directory`."""

    shown: str
    directory: Path
    content: bytes


@dataclass(frozen=True)
class Entry:
    """A context, cluster or user, and the file in which it stands."""

    fields: Fields
    source: Source

    def error(self, error: KubeconfigError) -> FileError:
        """To be raised for what is wrong in it."""
        return _error(self.source.shown, error)


@dataclass(frozen=True)
class Merged:
    """What all files say together."""

    shown: str
    current_context: str
    contexts: Mapping[str, Entry]
    clusters: Mapping[str, Entry]
    users: Mapping[str, Entry]


def find(environment: Mapping[str, str]) -> list[Source]:
    """The files that $KUBECONFIG names and that are there, or the default one. Raises FileError."""
    names = [name for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    if not names:
        return [read_file(str(Path(_DEFAULT).expanduser()))]
    there = [name for name in dict.fromkeys(names) if Path(name).exists()]
    return [read_file(name) for name in there or names]


def read_file(name: str) -> Source:
    """Raises FileError."""
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a NUL character in its name"
        raise FileError(f"the kubeconfig {name} cannot be read: {why}; name one with --kubeconfig") from error
    if len(content) > _MAX_BYTES:
        raise FileError(f"the kubeconfig {name} is over {_MAX_BYTES >> 20} MiB; name another with --kubeconfig")
    return Source(name, Path(name).parent, content)


def merge(sources: Iterable[Source]) -> Merged:
    """The first file that has an entry of a name has it, whole; the first that sets a current context sets it.

    Raises FileError.
    """
    sections: dict[str, dict[str, Entry]] = {section: {} for section in SECTIONS}
    current, names = "", list[str]()
    for source in sources:
        names.append(source.shown)
        try:
            fields = top(_value(source))
            current = current or fields.text("current-context")
            for section, entries in sections.items():
                for name, entry in named_entries(fields, section).items():
                    entries.setdefault(name, Entry(entry, source))
        except KubeconfigError as error:
            raise _error(source.shown, error) from error
    return Merged(os.pathsep.join(names), current, **sections)


def _value(source: Source) -> strict_yaml.Value:
    value = strict_yaml.load(_text(source), max_nodes=_MAX_NODES, as_kubectl=True)
    return {} if value is None else value


def _text(source: Source) -> str:
    mark, encoding = next((one for one in _MARKS if source.content.startswith(one[0])), (b"", "utf-8"))
    try:
        return source.content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise FileError(
            f"the kubeconfig {source.shown} is not text in UTF-8, or in UTF-16 with its byte order mark"
        ) from error


def _error(shown: str, error: KubeconfigError) -> FileError:
    return FileError(f"the kubeconfig {shown}: {error.fields[0][1]}")
