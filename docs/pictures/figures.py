"""Draws bars of what docs/performance.md says. Its tables are what is read, so the picture can say nothing else."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from docs.pictures.svg import both, text

_PAGE = Path(__file__).parents[1] / "performance.md"
_NUMBER = re.compile(r"([\d,.]+) (ms|µs|MiB|M lines/s)")
_BAR, _STEP, _LABELS, _LENGTH = 20.0, 38.0, 230.0, 190.0
_MANY = "Many who follow"
_FOLLOWERS = ("10", "100", "1,000")

_FIRST_LINE = (
    ("Local executor", "first line of output", 0, "local executor", "accent"),
    ("Warm pods", "first line of output in a warm pod", 0, "a warm pod", "accent"),
    ("Kubernetes executor", "cold start: first line of output", 0, "a pod of its own", "accent"),
    ("Kubernetes executor", "cold start: first line of output", 1, "floor: a bare pod with bash", "bar"),
)
_LINES = (
    ("Local executor", "1,500,000 lines, 120 MB: curl -N", 0, "local executor", "accent"),
    ("Local executor", "1,500,000 lines, 120 MB: curl -N", 1, "floor: sed, no network", "bar"),
    ("Kubernetes executor", "4,071,572 lines, 100 MB of YAML", 0, "a pod of its own", "accent"),
    ("Kubernetes executor", "4,071,572 lines, 100 MB of YAML", 1, "kubectl logs -f", "bar"),
)
"""Section, begin of the row's name, which of its cells, words, colour."""


def _value(section: str, row: str, cell: int) -> float:
    """The median in that cell: the first number with a unit."""
    page = _PAGE.read_text()
    part = page[page.index(f"\n## {section}\n") :]
    [line, *_] = [line for line in part.splitlines() if line.startswith(f"| {row}")]
    found = _NUMBER.search(line.split("|")[2 + cell])
    if found is None:
        raise ValueError(f"no number in cell {cell} of {line}")
    return float(found[1].replace(",", ""))


def _bars(
    left: float,
    title: str,
    rows: Sequence[tuple[str, str, int, str, str]],
    unit: str,
    labels: float = _LABELS,
    length: float = _LENGTH,
) -> Iterator[str]:
    yield text(left, 30, title, size=14, weight=600)
    values = [_value(*row[:3]) for row in rows]
    for number, (value, (*_, words, colour)) in enumerate(zip(values, rows, strict=True)):
        top = 52 + _STEP * number
        long = max(2.0, length * value / max(values))
        yield text(left + labels - 12, top + 15, words, size=13, anchor="end")
        yield (
            f'<rect x="{left + labels:g}" y="{top:g}" width="{long:.1f}" height="{_BAR:g}" rx="3" '
            f'fill="{{{colour}}}"/>'
        )
        yield text(left + labels + long + 8, top + 15, f"{value:,g} {unit}", size=13, colour="soft")


def _growth() -> Iterator[str]:
    """What ten, a hundred and a thousand followers take."""
    for number, (title, unit) in enumerate(
        (("A line is late, p50", "ms"), ("Processor, a line to one of them", "µs"), ("Peak memory", "MiB"))
    ):
        rows = [(_MANY, f"{count} |", 1 + number, count, "accent") for count in _FOLLOWERS]
        yield from _bars(10 + 350 * number, title, rows, unit, labels=70, length=170)


def drawn() -> dict[str, dict[str, str]]:
    """The pictures by their names, and by theme."""
    elements = [
        *_bars(10, "To the first line of output (shorter is better)", _FIRST_LINE, "ms"),
        *_bars(540, "Output, in million lines a second", _LINES, "M/s"),
    ]
    title = "Bars of the medians below: how long the first line takes, and how many lines come in a second."
    growth = (
        "Bars: how late a line is, and what the service takes for it, for ten, a hundred and a thousand followers."
    )
    return {
        "figures": both(width=1050, height=216, title=title, elements=elements),
        "growth": both(width=1050, height=178, title=growth, elements=_growth()),
    }
