"""What a subcommand says of itself, beside its output."""

import sys


def tell(text: str, *lines: str) -> None:
    """A message of ours on stderr: one line, and `lines` below it."""
    print("\n".join(map(printable, (f"k8s-mcp: {text}", *lines))), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """`text` without what steers a terminal: a server may have said it."""
    return "".join(character if character.isprintable() else " " for character in text)
