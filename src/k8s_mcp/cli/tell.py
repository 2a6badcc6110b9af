"""What a subcommand says of itself, beside its output."""

import sys


def tell(text: str) -> None:
    """A message of ours on stderr."""
    print(f"k8s-mcp: {text}", file=sys.stderr, flush=True)
