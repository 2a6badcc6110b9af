"""Bearer tokens of which the service knows the SHA-256 only: made by `k8s-mcp token`, read from a file.

A line for each: the principal's name, its groups if it has any, separated by commas, and last the digest, so that a
line that was written in part is no line at all. `#` begins a comment.

    alice sre,oncall sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from k8s_mcp.errors import Unauthorized
from k8s_mcp.followed import Followed
from k8s_mcp.models import Principal

PREFIX = "k8smcp_"
"""By which people and secret scanners know a token; what has it is looked for in the file and nowhere else."""
_BYTES = 32
_KEY_BYTES = 8  # of a digest, which tell any two apart
_MOST_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_DIGEST = re.compile("sha256:([0-9a-f]{64})")
_TAKEN = frozenset(("anonymous",))


def make_token() -> str:
    """A new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def line_of(token: str, name: str, groups: Collection[str]) -> str:
    """What the file says of a token, without the newline. Raises ValueError for a name that cannot be one."""
    for word in (name, *groups):
        if not _NAME.fullmatch(word) or word in _TAKEN:
            raise ValueError(
                f"{word!r} cannot be a name: one is up to 128 of A-Z, a-z, 0-9 and . _ @ + -, begins with a letter "
                "or a digit, and is not `anonymous`"
            )
    return " ".join(word for word in (name, ",".join(groups), f"sha256:{_digest(token).hex()}") if word)


def parse(content: bytes) -> dict[bytes, tuple[bytes, Principal]]:
    """Digests and principals of a file, by the digests' beginnings. Raises ValueError, quoting nothing."""
    found: dict[bytes, tuple[bytes, Principal]] = {}
    for number, line in enumerate(content.decode().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest = _DIGEST.fullmatch(words[-1])
        groups = words[1].split(",") if len(words) == 3 else []
        if len(words) not in (2, 3) or digest is None or not all(map(_NAME.fullmatch, (words[0], *groups))):
            raise ValueError(f"line {number} is not `NAME [GROUP,…] sha256:…`, as `k8s-mcp token` prints it")
        if words[0] in _TAKEN:
            raise ValueError(f"line {number}: nobody may have this name")
        known = bytes.fromhex(digest[1])
        if known[:_KEY_BYTES] in found:
            raise ValueError(f"line {number} has the digest of another line")
        found[known[:_KEY_BYTES]] = (known, Principal(words[0], frozenset(groups)))
    return found


class Tokens:
    """The tokens of a file, or of all files in a directory, such as a mounted Secret."""

    def __init__(self, path: Path) -> None:
        self._file = Followed(f"the tokens in {path}", lambda: _read(path), parse)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Follow the file until the context ends. Raises StartError when it cannot be read."""
        async with self._file.open():
            yield

    async def principal(self, token: str) -> Principal | None:
        """Whose token it is; None for one of another kind. Raises Unauthorized."""
        if not token.startswith(PREFIX):
            return None
        digest = _digest(token)
        # How long the look-up takes depends on SHA-256 alone, which no caller can steer; the comparison that decides
        # takes the same time for all.
        known, principal = self._file.value.get(digest[:_KEY_BYTES], (b"", None))
        if not hmac.compare_digest(known, digest) or principal is None:
            raise Unauthorized("this token is not, or no longer, among those that the operator has handed out")
        return principal


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _read(path: Path) -> bytes:
    files = [path]
    if path.is_dir():  # of a Secret: `..data` and `..2026_…` are the kubelet's
        files = sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.is_file())
    content = bytearray()
    for file in files:
        with file.open("rb") as opened:
            content += opened.read(_MOST_BYTES + 1) + b"\n"
        if len(content) > _MOST_BYTES:
            raise ValueError(f"over {_MOST_BYTES} bytes")
    return bytes(content)
