"""The policy in its file: read at the start, and again when it changes."""

from pathlib import Path

from k8s_mcp.followed import Followed
from k8s_mcp.policy.rules import POLICY_BYTES, Policy, PolicyError, read


class PolicyFile(Followed[Policy]):
    """`value` is the last good version. `open` raises StartError when there is none."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the policy file {name}", lambda: read_bytes(name), policy_of)


def read_bytes(name: str) -> bytes:
    """The file's content, or as much of it as is already too much. Raises OSError."""
    with Path(name).open("rb") as file:
        return file.read(POLICY_BYTES + 1)


def policy_of(content: bytes) -> Policy:
    """Raises PolicyError."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PolicyError(f"is not text in UTF-8: byte {error.start}") from None
    return read(text)
