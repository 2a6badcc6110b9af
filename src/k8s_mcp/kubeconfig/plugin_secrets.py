"""Which arguments and variables of a credential plugin are secret: by their names, or by their form. Pure.

The rest are regions, profiles, clusters: masking those would garble names that later commands need.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

_SECRET = re.compile(
    r"token|secret|passw|passphrase|pwd|credential|private|api_?key|access_?key|auth_?key|cookie|bearer|authorization|(^|_)(key|pass|jwt|pat|sas)$"
)
_NOT_ITSELF = re.compile(
    r"(^|_)(id|ids|file|path|dir|directory|url|uri|endpoints?|host|server|name|type|version|cache|mode|format|issuer"
    r"|audience|ttl|expiry|expiration|duration|timeout|seconds|provider|store|stdin|region|scopes?)$"
)
"""Ends of names of what only leads to a secret, or describes one."""
_WORDS = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*|[0-9]+")
_ASSIGNED = re.compile(r"-{0,2}([A-Za-z][\w.-]*)[=:](.+)", re.DOTALL)
_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)")
_PAIR = re.compile(r"""["']?([A-Za-z][\w.-]*)["']?\s*[:=]\s*["']?([^\s"',;&|}]+)""")  # within a word: JSON, a shell's
_WITHIN = re.compile(r"(?<=:)[^\s/@:]+(?=@)|(?<=\bBearer )[^\s'\"]+|(?<=\bBasic )[^\s'\"]+")  # URLs, headers
_PATH = re.compile(r"(?:~|\.{1,2})?(?:/[\w.@+ -]+){2,}")
_KNOWN_FORM = re.compile(
    r"eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT
    r"|gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{16,}"
    r"|hv[sbr]\.[\w-]{16,}|AIza[\w-]{30,}|ya29\.[\w.-]{16,}"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)  # of tenants and clients
_RANDOM = re.compile(r"[A-Za-z0-9+/=_~.-]{20,}")
_MOST_STEADY = 0.3


def secrets_of(args: Iterable[str], env: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The secret values among a plugin's arguments and variables."""
    for name, value in env:
        if _says_secret(name) and not _is_path(value):
            yield value
        yield from _in_words([value])
    yield from _in_words(args)


def _in_words(words: Iterable[str]) -> Iterator[str]:
    """Those among words of a command line, where an option's value may be a word of its own."""
    named = False
    for word in words:
        if named and not _is_path(word):
            yield word
        option = _OPTION.fullmatch(word)
        named = option is not None and _says_secret(option[1])
        for name, value in (*_ASSIGNED.findall(word), *_PAIR.findall(word)):
            if (_says_secret(name) and not _is_path(value)) or _looks_secret(value):
                yield value
        yield from _WITHIN.findall(word)
        if _looks_secret(word):
            yield word
        parts = [part for part in re.split(r"[\s'\"`;,&|(){}\[\]]+", word) if part]
        if parts != [word]:
            yield from _in_words(parts)  # a shell's command line


def _says_secret(name: str) -> bool:
    """`AWS_SECRET_ACCESS_KEY`, `--client-secret`, `clientSecret`; not `TOKEN_FILE`, `ACCESS_KEY_ID`."""
    words = "_".join(_WORDS.findall(name)).lower()
    return bool(_SECRET.search(words)) and not _NOT_ITSELF.search(words)


def _is_path(value: str) -> bool:
    return bool(_PATH.fullmatch(value)) and not _looks_secret(value)


def _looks_secret(value: str) -> bool:
    """A token or key of a known form, or characters without a word among them."""
    if _PRIVATE_KEY.search(value) or _KNOWN_FORM.fullmatch(value):
        return True
    if not _RANDOM.fullmatch(value) or _UUID.fullmatch(value):
        return False
    kinds = ["a" if char.islower() else "A" if char.isupper() else "0" if char.isdigit() else " " for char in value]
    changes = sum(" " not in (one, other) and one != other for one, other in pairwise(kinds))
    return changes >= _MOST_STEADY * len(value)
