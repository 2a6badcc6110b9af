"""Tables on standard output."""

from collections.abc import Sequence

from k8s_mcp.cli.tell import printable


def print_table(*rows: Sequence[str]) -> None:
    """The first row has the columns' names."""
    shown = [[printable(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
