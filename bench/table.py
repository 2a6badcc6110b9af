"""Tables of rows, for people and as JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from bench.figures import Row, Sample

_HEADERS = ("", "median (min–max)", "beside", "median (min–max)", "compared", "aim", "")


def table(rows: Iterable[Row]) -> str:
    """Aligned columns, one line for each row."""
    cells = [_HEADERS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def as_json(row: Row) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "unit": row.unit,
        "values": _summary(row.sample),
        "beside": {"name": row.floor_name, "values": _summary(row.floor)} if row.floor else None,
        "ratio" if row.is_ratio else "difference": _summary(row.compared) if row.compared else None,
        "aim": row.aim or None,
        "met": row.met,
    }


def _cells(row: Row) -> tuple[str, ...]:
    compared = ""
    if row.compared:
        compared = _spread(row.compared, "×" if row.is_ratio else row.unit, sign=not row.is_ratio)
    return (
        row.name,
        _spread(row.sample, row.unit),
        row.floor_name,
        _spread(row.floor, row.unit) if row.floor else "",
        compared,
        row.aim,
        {None: "", True: "met", False: "MISSED"}[row.met],
    )


def _spread(sample: Sample, unit: str, *, sign: bool = False) -> str:
    middle = f"{_number(sample.median, sign=sign)} {unit}".rstrip()
    if len(sample.values) == 1:
        return middle
    return f"{middle} ({_number(sample.low, sign=sign)}–{_number(sample.high, sign=sign)})"


def _number(value: float, *, sign: bool = False) -> str:
    """Three digits, as many as a benchmark can vouch for."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:{'+' if sign else ''},.{digits}f}"


def _summary(sample: Sample | None) -> Mapping[str, object] | None:
    if sample is None:
        return None
    return {"median": sample.median, "min": sample.low, "max": sample.high, "rounds": len(sample.values)}
